"""`notify test`: a marked event through every sink, and what became of it."""

import json
from pathlib import Path
from typing import Any

from support.command import Finished, called, write_config
from support.fake_platform import FakePlatform
from support.receiver import Receiver, receiver

PLATFORM = FakePlatform("https://app.talkover.ai/api/v1")


async def tried(folder: Path, *flags: str, **notify: Any) -> Finished:
    for name in ("secret", "url"):
        (folder / name).touch(mode=0o600)
        (folder / name).write_text(notify.pop(name, "a-canary"))
    labels = {"labels": {"team": "platform"}}
    config = write_config(
        folder,
        PLATFORM,
        ["c-1"],
        environment=labels,
        metrics={"campaign_labels": ["team"]},
        alerts={"file": {"path": str(folder / "alerts.jsonl")}},
        notify=notify,
    )
    return await called("notify", "test", "--config.file", config, *flags)


def all_of(to: Receiver) -> dict[str, Any]:
    """Return a `notify` section that tells this receiver in every way."""
    return {
        "alertmanager": {"urls": [f"{to.url}/am"]},
        "webhooks": [{"name": "pager", "url": f"{to.url}/T0ken", "secret_file": "secret"}],
        "apprise": [{"url_file": "url"}],
        "url": to.url.replace("http", "json") + "/T0ken",
    }


async def test_every_sink_is_tried_and_reported(tmp_path: Path) -> None:
    async with receiver() as to:
        done = await tried(tmp_path, "--severity", "warning", **all_of(to))
    assert done.code == 0, done.err
    line, *report = done.out.splitlines()
    sinks = ["log", "file", "alertmanager-1", "webhook-pager", "apprise-1"]
    assert report == [f"{sink}: ok" for sink in sinks]
    event = json.loads(line)
    assert (event["rule"], event["severity"]) == ("notify_test", "warning")
    assert "nothing is wrong" in event["summary"]
    assert json.loads((tmp_path / "alerts.jsonl").read_text()) == event
    came = {one.path: one.json for one in to.received if one.path.startswith("/am")}
    (alert,) = came["/am/api/v2/alerts"]
    assert alert["labels"] == {
        "alertname": "notify_test",
        "environment": "production",
        "rule": "notify_test",
        "severity": "warning",
        "team": "platform",
    }
    assert not (tmp_path / "state.db").exists()


async def test_one_that_fails_is_reported_with_its_reason_and_hinders_no_other(
    tmp_path: Path,
) -> None:
    async with receiver() as to, receiver(500) as broken:
        webhooks = [
            {"url": f"{broken.url}/T0ken", "secret_file": "secret"},
            {"url": f"{to.url}/T0ken", "secret_file": "secret"},
        ]
        done = await tried(tmp_path, webhooks=webhooks)
    assert done.code == 1
    assert f"webhook-1: failed: {broken.url} answered 500" in done.out
    assert "webhook-2: ok" in done.out
    assert "T0ken" not in done.out + done.err


async def test_a_secret_that_others_can_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").touch(mode=0o604)
    (tmp_path / "open").chmod(0o604)
    (tmp_path / "open").write_text("canary")
    done = await tried(
        tmp_path, webhooks=[{"url": "https://h.example/T0ken", "secret_file": "open"}]
    )
    assert done.code == 77
    assert "notify.webhooks[0].secret_file" in done.err
    assert "T0ken" not in done.out + done.err
