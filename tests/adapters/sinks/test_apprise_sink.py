"""The apprise sink, through apprise's own `json://` to a server on this machine."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from monitor.adapters.sinks import Sink, UncertainDeliveryError
from monitor.adapters.sinks.apprise import sinks_of, to_text
from monitor.config import TokenSource
from monitor.config.model import Apprise
from monitor.core.model import EventStatus
from monitor.serialize import Links
from support.events import FIRING
from support.mailbox import mailbox
from support.receiver import receiver
from support.sinks import a_context

LINKS = Links("https://runbooks.example/{rule}", "https://monitor.example")
TOLD = replace(FIRING, epoch="e90c4")


def a_sink(folder: Path, url: str) -> Sink:
    file = folder / "url"
    file.touch(mode=0o600)
    file.write_text(url)
    service = Apprise.model_construct(url_file=TokenSource(file))
    (sink,) = sinks_of([service], a_context(LINKS))
    return sink


@pytest.mark.slow
async def test_an_event_is_told_in_words(tmp_path: Path) -> None:
    async with receiver() as to:
        sink = a_sink(tmp_path, to.url.replace("http", "json") + "/T0ken")
        await sink.deliver(TOLD)
        await sink.deliver(replace(FIRING, status=EventStatus.RESOLVED, epoch="e"))
    firing, resolved = (came.json for came in to.received)
    assert (firing["title"], firing["type"]) == (
        "FIRING WARNING stale_test: production/Retail leads",
        "warning",
    )
    assert "Next step: Run a connection test." in firing["message"]
    assert (resolved["title"], resolved["type"]) == (
        "RESOLVED stale_test: production/Retail leads",
        "success",
    )


@pytest.mark.slow
async def test_a_service_that_fails_is_told_later_and_its_url_is_not_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with receiver(500) as to:
        sink = a_sink(tmp_path, to.url.replace("http://", "json://user:S3cret@") + "/T0ken")
        with pytest.raises(UncertainDeliveryError, match="not reached, or refused") as error:
            await sink.deliver(TOLD)
    said = str(error.value) + "".join(
        record.getMessage() for record in caplog.records if record.name == "apprise"
    )
    assert "T0ken" not in said
    assert "S3cret" not in said


HOSTILE = (
    "<!channel> <b>bold</b> &amp; <https://evil.example|Runbook> [x](https://evil.example) @all"
)


@pytest.mark.slow
@pytest.mark.parametrize("asked", ["", "&format=html", "&format=text", "&format=markdown"])
async def test_fault_21_a_mail_reads_alike_in_all_of_its_parts_whatever_others_have_named(
    tmp_path: Path, asked: str
) -> None:
    """Of the kind: a service that sends another format than text takes our text for that format."""
    event = replace(TOLD, campaign_name=HOSTILE, summary=f'TalkOver says: "{HOSTILE}"')
    async with mailbox() as to:
        url = f"mailto://{to.address}?from=monitor@example.com&to=on-call@example.com{asked}"
        await a_sink(tmp_path, url).deliver(event)
    (mail,) = to.mails
    title, body = to_text(event, LINKS)
    assert mail["Subject"] == title
    parts = {part.get_content_type(): part.get_content() for part in mail.iter_parts()} or {
        mail.get_content_type(): mail.get_content()
    }
    assert parts["text/plain"].splitlines() == body.splitlines()
    if asked == "&format=html":
        shown = Rendered(parts["text/html"])
        assert shown.lines == [line for line in body.splitlines() if line]
        assert shown.tags <= {"html", "head", "body", "br", "p"}


class Rendered(HTMLParser):
    """What a mail program shows of HTML: lines, and the tags that it was made of."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags, self._text = set[str](), ""
        self.feed(html)
        self.lines = [line for line in self._text.split("\n") if line.strip()]

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)
        self._text += "\n" if tag in {"br", "p"} else ""

    def handle_data(self, data: str) -> None:
        # A line end is no more than a blank to it.
        self._text += data.replace("\n", " ").strip(" ").replace("\xa0", " ")


def test_fault_21_no_service_finds_a_link_or_a_mention_in_the_words_of_others() -> None:
    hostile: dict[str, Any] = dict.fromkeys(("campaign_name", "sftp_host", "summary"), HOSTILE)
    title, body = to_text(replace(TOLD, **hostile), LINKS)
    for text in (title, body.replace(LINKS.runbook_url.replace("{rule}", TOLD.rule), "")):
        assert not re.search(r"[<>]|evil.*://|\]\(|(?<!\w)@\w", text.replace("https://monitor", ""))
    assert "Runbook: https://runbooks.example/stale_test" in body.splitlines()


async def test_a_file_without_such_a_url_is_told_without_its_content(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="holds no URL that apprise knows") as error:
        await a_sink(tmp_path, "nonsense").deliver(TOLD)
    assert "nonsense" not in str(error.value)
    with pytest.raises(OSError, match="is empty"):
        await a_sink(tmp_path, "").deliver(TOLD)


def test_the_words_say_what_is_known_and_nothing_of_what_is_not() -> None:
    event = replace(FIRING, campaign_id=None, campaign_name="", sftp_host="", since=None)
    title, body = to_text(replace(event, epoch="e"), LINKS)
    assert title == "FIRING WARNING stale_test: production"
    assert "Campaign" not in body
    assert "None" not in body


def test_the_words_say_whom_it_concerns() -> None:
    event = replace(TOLD, labels={"team": "retail", "tier": "@all"})
    assert "Labels: team=retail, tier=@ all" in to_text(event, LINKS)[1].splitlines()


def test_the_words_say_that_they_were_perhaps_sent_before() -> None:
    again = to_text(replace(TOLD, redelivery=True), LINKS)[1].splitlines()
    assert again == [*to_text(TOLD, LINKS)[1].splitlines(), "Note: perhaps it was sent before"]


def test_the_words_say_what_is_at_stake_while_the_alert_fires() -> None:
    event = replace(FIRING, impact="calling now until 17:00", epoch="e")
    assert "Impact: calling now until 17:00" in to_text(event, LINKS)[1].splitlines()
    _, over = to_text(replace(event, status=EventStatus.RESOLVED), LINKS)
    assert "calling now" not in over
