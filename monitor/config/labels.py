"""Labels that the operator puts on campaigns, and the names that they cannot have."""

import json
import re
from collections.abc import Mapping

from monitor.serialize import EVENT_FIELDS

LABEL_NAME_PATTERN = "^(?!__)[a-zA-Z_][a-zA-Z0-9_]*$"
METRIC_LABELS = frozenset(
    {
        "alertstate", "auth_type", "campaign_id", "campaign_name", "endpoint", "environment",
        "health", "import_schedule", "le", "python_version", "reason", "rule", "severity",
        "sftp_host", "sftp_port", "sink", "status", "version",
    }
)  # fmt: skip
"""Label names of the metrics."""

OTHERS_LABELS = frozenset(
    {
        "alertname", "container", "instance", "job", "namespace", "node", "pod", "quantile",
        "service",
    }
)  # fmt: skip
"""Labels that Prometheus, its Kubernetes operator, Alertmanager or the shipped rules set or drop.

The test of this module reads them from the files in deploy/.
"""

LABELS_LIMIT = 1024
"""Bytes of labels as JSON, so that an alert's log line can hold them whatever else is in it."""

_RENAMED = "exported_"
"""What Prometheus puts before a label of ours that its own one displaces."""

RESERVED_LABELS = METRIC_LABELS.union(OTHERS_LABELS, EVENT_FIELDS)


def label_name(text: str) -> str:
    """Return the name of a label; ValueError unless Prometheus takes it and it is free."""
    if not re.fullmatch(LABEL_NAME_PATTERN, text):
        raise ValueError("expected a label name: letters, digits and _, not starting with __")
    if text in RESERVED_LABELS or text.startswith(_RENAMED):
        other = f"own_{text.removeprefix(_RENAMED)}"
        users = "the monitor, its rules, Prometheus or Alertmanager set this one themselves"
        raise ValueError(f"expected another label name, such as {other}: {users}")
    return text


def too_long(labels: Mapping[str, str]) -> str | None:
    """Return what is wrong with labels that do not fit into an alert's log line, or None."""
    # dumps escapes all that is not ASCII: its characters are the bytes of the line.
    size = len(json.dumps(dict(labels)))
    if size <= LABELS_LIMIT:
        return None
    return f"expected labels of at most {LABELS_LIMIT:,} bytes of JSON, found {size:,}"
