"""What every test may rely on: no setting of this machine reaches the program."""

import os

import pytest
from hypothesis import settings

# A machine that is busy, or that measures coverage, is slow: that is no failure of a property.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("SFTP_MONITOR_")]:
        monkeypatch.delenv(name)
