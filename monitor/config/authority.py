"""Whether a file is a certificate authority."""

import ssl
from pathlib import Path


def trust(context: ssl.SSLContext, ca_file: Path) -> None:
    """Have a context trust the certificates in a PEM file; ValueError says why it cannot."""
    # Anything else would be waited for: a FIFO, for one.
    if not ca_file.is_file():
        raise ValueError(f"{ca_file} is not a file")
    try:
        context.load_verify_locations(cafile=ca_file)
    except ssl.SSLError:
        raise ValueError(f"{ca_file} has no certificates in PEM format") from None
    except OSError as error:
        raise ValueError(f"{ca_file} cannot be read: {error.strerror}") from None
