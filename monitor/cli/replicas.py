"""Replicas that share a state, as commands ask them: each for the environments that it holds."""

from collections.abc import Iterator, Mapping, Sequence

from monitor.adapters.web import schemas
from monitor.cli import options
from monitor.http import moved

_Asked = tuple[str, schemas.StatusAnswer, Sequence[schemas.EnvironmentAnswer]]


def asked(url: str, headers: Mapping[str, str] = {}) -> Iterator[_Asked]:
    """Yield a daemon's URL, status and environments; and of every replica those that it holds.

    What is held by none that answers is yielded as the first one knows it, with its `holder`.
    """
    first, shown = _status(url, headers), dict[str, list[schemas.EnvironmentAnswer]]()
    for one in first.environments:
        shown.setdefault(one.holder.address if one.holder is not None else "", []).append(one)
    lost = list[schemas.EnvironmentAnswer]()
    for address, known in shown.items():
        if not address:
            own = [one for one in known if one.holder is None]
            lost += [one for one in known if one.holder is not None]
            yield url, first, own
            continue
        try:
            where = moved(url, address)
            status, names = _status(where, headers), {one.name for one in known}
        except OSError:
            lost += known
            continue
        found = [one for one in status.environments if one.owned and one.name in names]
        lost += [one for one in known if one.name not in {it.name for it in found}]
        yield where, status, found
    if lost:
        yield url, first, lost


def _status(url: str, headers: Mapping[str, str]) -> schemas.StatusAnswer:
    (status,) = options.ask(url, "/api/v1/status", {}, schemas.StatusAnswer, headers)
    return status
