"""What is wrong with a config: every problem at once, each with its place."""

from collections.abc import Iterable
from dataclasses import dataclass

from monitor.core.text import clean, redact

BAD_CONFIG, EXPOSED_SECRET = 78, 77
"""Exit codes, as sysexits.h names them: EX_CONFIG and EX_NOPERM."""

COMMAND_LINE = "command line"
"""What stands for the file in a problem with a flag."""

Place = tuple[str | int, ...]
"""Where a value stands in the document: keys and list indexes from the top down."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where it stands and what was expected, never a secret.

    `line` counts from 1; `key` is a path such as `environments[0].polling.interval`, empty for
    the file as a whole. `exposed_secret` marks a secret file that others can read.
    """

    file: str
    line: int | None
    key: str
    message: str
    exposed_secret: bool = False

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return ": ".join(part for part in (place, self.key, self.message) if part)


class ConfigError(Exception):
    """The config cannot be used. `problems` has everything that is wrong, in file order."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: problem.line or 0))
        super().__init__("\n".join(str(problem) for problem in self.problems))

    @property
    def exit_code(self) -> int:
        """77 where a secret that others can read is all that is wrong, else 78."""
        exposed = all(problem.exposed_secret for problem in self.problems)
        return EXPOSED_SECRET if exposed and self.problems else BAD_CONFIG


def problem(
    file: str, line: int | None, place: Place, message: str, *, exposed_secret: bool = False
) -> Problem:
    """Return a problem at a place, with whatever looks like a token taken out of its words."""
    # A token pasted at the wrong place may have become a key.
    key = redact(clean(key_path(place), 256))
    return Problem(file, line, key, redact(message), exposed_secret)


def key_path(place: Place) -> str:
    """Return a place as people write it: `environments[0].polling.interval`."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return "".join(parts).removeprefix(".")
