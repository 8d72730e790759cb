"""What is remembered goes along with the steps of our clock, as annotations of fields say."""

from collections.abc import Mapping
from dataclasses import is_dataclass, replace
from functools import cache
from typing import Annotated, Any, TypeVar, cast, get_args, get_origin, get_type_hints

from monitor.core.model import INSTANT, PLATFORMS, Instant, Lead, Seconds

_Known = TypeVar("_Known", bound=Any)


def redated(known: _Known, *, by: Seconds = 0.0, latest: Instant = float("inf")) -> _Known:
    """Return what a wrong clock of ours dated, `by` seconds later, but `latest` at most.

    That is all instants in it but the platform's; 0 is none.
    """
    moved, cls = dict[str, Any](), cast(Any, type(known))
    for name, lead in _dated(cls).items():
        was = getattr(known, name)
        if was and (at := _moved(was, by, latest + lead)) != was:
            moved[name] = at
    if not moved:
        return known
    change: Any = replace if is_dataclass(known) else cls._replace
    return cast(_Known, change(known, **moved))


def _moved(was: Any, by: Seconds, latest: Instant) -> Any:
    if isinstance(was, (float, int)):
        return min(was + by, latest)
    if isinstance(was, Mapping):
        return {key: _moved(one, by, latest) for key, one in was.items()}
    if type(was) is tuple:
        return tuple(_moved(one, by, latest) for one in was)
    return redated(was, by=by, latest=latest)


@cache
def _dated(cls: type) -> Mapping[str, Seconds]:
    """Return the fields in which there are instants of ours, and how far ahead these may lie."""
    leads = {name: _lead(one) for name, one in get_type_hints(cls, include_extras=True).items()}
    return {name: lead for name, lead in leads.items() if lead is not None}


def _lead(kind: Any) -> Seconds | None:
    marks = kind.__metadata__ if get_origin(kind) is Annotated else ()
    if PLATFORMS in marks:
        return None
    if INSTANT in marks:
        return next((mark.most for mark in marks if isinstance(mark, Lead)), 0.0)
    if is_dataclass(kind) or hasattr(kind, "_fields"):
        return 0.0 if _dated(kind) else None
    return next((lead for one in get_args(kind) if (lead := _lead(one)) is not None), None)
