"""What every test may rely on: no setting of this machine reaches the program."""

import os

import pytest
from hypothesis import settings

# A machine that is busy, or that measures coverage, is slow: that is no failure of a property.
settings.register_profile("patient", deadline=None)
# For thousands of runs: few examples, and the same ones for each mutant.
settings.register_profile(
    "mutation", deadline=None, max_examples=20, derandomize=True, database=None
)
settings.load_profile("patient")


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("SFTP_MONITOR_")]:
        monkeypatch.delenv(name)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests have measured (`record_property`), so that it is in the log of CI."""
    reports = terminalreporter.getreports("passed")
    measured = [line for report in reports for line in report.user_properties]
    if measured:
        terminalreporter.section("measured")
        for name, value in measured:
            terminalreporter.write_line(f"{name}: {value}")
