"""Watches the SFTP import configuration of TalkOver campaigns, and reports when one stops working.

The layers, from the top: ``cli`` → ``daemon`` → ``polling`` and ``notifier`` → ``adapters`` →
``config`` → ``http`` → ``core`` and ``tls``. Imports go downward only; import-linter keeps it so
(``make check``).
"""

__version__ = "0.1.0"
