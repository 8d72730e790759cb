"""An event to tell."""

from monitor.core.model import Event, EventStatus, Severity

FIRING = Event(
    status=EventStatus.FIRING,
    seq=3,
    rule="stale_test",
    severity=Severity.WARNING,
    environment="production",
    campaign_id="c-1",
    campaign_name="Retail leads",
    labels={"team": "retail"},
    sftp_host="sftp.example.com",
    import_schedule="daily",
    summary="last test 31 d ago (2026-10-23T09:30:00Z), allowed 30 d",
    since=1_800_000_000.0,
    observed_at=1_800_000_001.5,
    decided_at=1_800_000_001.5,
    last_passed_at=1_797_321_600.0,
    evidence={"max_age": "30 d"},
    next_step="Run a connection test.",
)
