"""What an alert goes by: its fingerprint, and the labels that it keeps while it fires."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256


def fingerprint(environment: str, campaign_id: str | None, rule: str) -> str:
    """Return the alert's identity as 16 hex digits, made of these three and nothing else."""
    text = "\0".join((environment, campaign_id or "", rule))
    return sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertLabels:
    """Whom an alert is about, in words. They change; an alert that fires keeps those of then.

    Of `labels` those that `exported` names are labels of its metric, and in Alertmanager.
    """

    sftp_host: str = ""
    campaign_name: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    exported: tuple[str, ...] = ()
