"""How gauges are written: alike in both of Prometheus' text formats.

By hand, not by prometheus-client: for a million series its encoder takes 8 s and its samples
700 MB, and lines that are known already cannot be given to it.
"""

from collections.abc import Iterable, Mapping

from prometheus_client.utils import floatToGoString

_PREFIX = "sftp_monitor_"


def family(name: str, about: str, lines: Iterable[bytes]) -> bytes:
    """Return a gauge with all its lines; `about` has neither a backslash nor a newline in it."""
    head = f"# HELP {_PREFIX}{name} {about}\n# TYPE {_PREFIX}{name} gauge\n".encode()
    return b"".join([head, *lines])


def line(name: str, labels: str, value: float | None) -> bytes:
    """Return one series with its labels as `written`; nothing where there is no value."""
    if value is None:
        return b""
    number = floatToGoString(value)  # type: ignore[no-untyped-call]
    return f"{_PREFIX}{name}{labels} {number}\n".encode()


def written(labels: Mapping[str, str]) -> str:
    """Return labels in braces, in the order of their names."""
    pairs = [f'{name}="{_escaped(labels[name])}"' for name in sorted(labels)]
    return f"{{{','.join(pairs)}}}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
