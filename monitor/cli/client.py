"""A running daemon as commands ask it: by its JSON API, with the replicas that share its state."""

import asyncio
import getpass
import json
import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import click
import httpx

from monitor.adapters.web import schemas
from monitor.adapters.web.commands import KEY_HEADER, StartedAnswer
from monitor.cli import options
from monitor.core.model import Instant, Seconds
from monitor.core.text import clean
from monitor.http import moved, request_once
from monitor.serialize import from_json

WITHIN: Seconds = 30.0
"""What a whole answer may take: ten thousand campaigns have 30 MB."""

ANSWER_MAX = 1024 * 1024 * 1024
HOPS = 2  # from a replica to the one that holds an environment; it may have moved meanwhile
LOOK_AGAIN: Seconds = 0.5  # how often a daemon is asked whether a test has ended
PATIENCE: Seconds = 300.0  # how long at most, and how long before it has begun

_CAMPAIGNS = "/api/v1/campaigns"
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Checked:
    """What is known of all campaigns and of their environments."""

    environments: Sequence[schemas.EnvironmentAnswer]
    campaigns: Sequence[schemas.CampaignAnswer]
    at: Instant


@dataclass(frozen=True)
class Monitor:
    """A daemon at a URL, asked with the key beside its state where there is one to read.

    `poll` has a campaign polled by one that polls nothing by itself. All methods raise OSError, and
    of it ConnectionError where nobody answers, without the user and the password of the URL.
    """

    url: str
    key: str = ""
    poll: Callable[[schemas.CampaignAnswer], None] = lambda _: None

    def exchange(
        self,
        method: str,
        path: str,
        *,
        also: Collection[int] = (),
        headers: Mapping[str, str] = {},
        **how: Any,
    ) -> tuple[int, bytes]:
        """Return the status and the body of an answer; `also` are statuses that may be.

        `how` is as for `request_once`.
        """
        try:
            asked = httpx.URL(f"{self.url.rstrip('/')}{path}")
            usable = asked.scheme in {"http", "https"} and asked.host
        # InvalidURL, or an IDNA name that is none.
        except (httpx.InvalidURL, UnicodeError):
            usable = False
        if not usable:
            raise OSError("--url: expected a URL such as http://127.0.0.1:10022")
        shown = f"{asked.scheme}://{asked.netloc.decode()}"
        key = {KEY_HEADER: self.key} if self.key else {}
        # No proxy of the environment: the daemon is here or near, and proxies lead elsewhere.
        how = {"within": WITHIN, "most": ANSWER_MAX, "follow": HOPS, **how}
        try:
            work = request_once(method, str(asked), headers={**headers, **key}, **how)
            status, body = asyncio.run(work)
        except OSError as error:
            raise ConnectionError(f"cannot ask {shown}: {error}") from None
        if 200 <= status < 300 or status in also:
            return status, body
        phrase = httpx.codes.get_reason_phrase(status)
        said = clean(f"{phrase} {body.decode(errors='replace')}", 300)
        raise OSError(f"{shown} answered {status} {said}")

    def ask(self, path: str, answer: type[_T], **params: str) -> Iterator[_T]:
        """Yield what it answers on a path, and of a list every page."""
        query = params
        while True:
            _, body = self.exchange("GET", path, params=query)
            try:
                page = from_json(answer, json.loads(body))
            except (ValueError, LookupError, TypeError, AttributeError):
                problem = "unexpected response from --url: not sftp-monitor, or another version"
                raise OSError(problem) from None
            yield page
            if (following := getattr(page, "next", None)) is None:
                return
            query = {**params, "next": following}

    def replicas(
        self,
    ) -> Iterator[tuple["Monitor", schemas.StatusAnswer, Sequence[schemas.EnvironmentAnswer]]]:
        """Yield it with its environments, and every other replica with those that it holds.

        What is held by none that answers is yielded as this one knows it, with its `holder`.
        """
        first, shown = self._status(), defaultdict[str, list[schemas.EnvironmentAnswer]](list)
        for one in first.environments:
            shown[one.holder.address if one.holder is not None else ""].append(one)
        lost = list[schemas.EnvironmentAnswer]()
        for address, known in shown.items():
            if not address:
                lost += [one for one in known if one.holder is not None]
                yield self, first, [one for one in known if one.holder is None]
                continue
            try:
                there = replace(self, url=moved(self.url, address))
                status, names = there._status(), {one.name for one in known}
            except OSError:
                lost += known
                continue
            found = [one for one in status.environments if one.owned and one.name in names]
            lost += [one for one in known if one.name not in {it.name for it in found}]
            yield there, status, found
        if lost:
            yield self, first, lost

    def _status(self) -> schemas.StatusAnswer:
        return next(self.ask("/api/v1/status", schemas.StatusAnswer))

    def checked(self) -> Checked:
        """Return what is known of everything, of each environment by its holder."""
        environments, campaigns = list[schemas.EnvironmentAnswer](), list[schemas.CampaignAnswer]()
        at = 0.0
        for there, status, known in self.replicas():
            pages = there.ask(_CAMPAIGNS, schemas.CampaignsAnswer)
            names, at = {one.name for one in known}, status.started_at + status.uptime_seconds
            environments += known
            campaigns += [
                one for page in pages for one in page.campaigns if one.environment in names
            ]
        return Checked(environments, campaigns, at)

    def environments(self, name: str | None) -> Sequence[schemas.EnvironmentAnswer]:
        """Return the environment of that name, or all; raises UsageError where there is none."""
        known = [one for _, _, many in self.replicas() for one in many]
        if found := [one for one in known if name in (None, one.name)]:
            return found
        raise click.UsageError(f"no such environment: {name}")

    def find(self, wanted: str) -> schemas.CampaignDetailAnswer:
        """Return the one campaign that is meant, as it is known; raises UsageError."""
        pages = self.ask(_CAMPAIGNS, schemas.CampaignsAnswer)
        known = (one for page in pages for one in page.campaigns)
        found = [one for one in known if options.is_called(one, wanted)]
        if len(found) != 1:
            which = ", ".join(f"{one.environment}/{one.campaign_id}" for one in found)
            raise click.UsageError(
                f"which one: {which}?" if found else f"no such campaign: {wanted}"
            )
        self.poll(found[0])
        return self.campaign(found[0])

    def campaign(self, known: schemas.CampaignAnswer) -> schemas.CampaignDetailAnswer:
        """Return a campaign as it is known by now."""
        return next(self.ask(_path(known), schemas.CampaignDetailAnswer))

    def test(
        self, known: schemas.CampaignAnswer, **how: bool
    ) -> schemas.CampaignDetailAnswer | str:
        """Have a campaign's test run to its end, its polls included; return it, or why not."""
        status, body = self._post(f"{_path(known)}/test", **how)
        if status != 202:
            said = json.loads(body)
            ends = f"; this ends it: {said['held']['ends']}" if said.get("held") else ""
            return f"{said['error']}{ends}"
        at = from_json(StartedAnswer, json.loads(body)).at
        for _ in range(round(PATIENCE / LOOK_AGAIN)):
            found = self.campaign(known)
            last = found.tests.last if found.tests is not None else None
            if last is None or last.at != at:
                return "no test was run; see the daemon's log"
            if last.ended_at is not None and (found.polled_at or 0.0) >= last.ended_at:
                break
            asyncio.run(asyncio.sleep(LOOK_AGAIN))
        return found

    def switch(self, environment: str | None, *, on: bool) -> None:
        """Suspend or resume an environment's tests, or all, at every replica that holds one.

        OSError names the environments that were not reached.
        """
        path, missed = f"/api/v1/tests/{'resume' if on else 'suspend'}", list[str]()
        for there, _, known in [*self.replicas()]:
            missed += [f"{one.name} (no replica answers for it)" for one in known if one.holder]
            try:
                there._post(path, environment=environment)
            except OSError as error:
                missed += [f"{one.name} ({error})" for one in known if not one.holder]
        if missed:
            raise OSError(f"not done for {', '.join(missed)}")

    def _post(self, path: str, **said: Any) -> tuple[int, bytes]:
        return self.exchange(
            "POST",
            path,
            also={409, 429},
            within=PATIENCE,
            headers={"Content-Type": "application/json"},
            content=json.dumps({**said, "by": operator()}).encode(),
        )


def _path(known: schemas.CampaignAnswer) -> str:
    return f"{_CAMPAIGNS}/{known.environment}/{known.campaign_id}"


def operator() -> str:
    """Return who runs this command."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
