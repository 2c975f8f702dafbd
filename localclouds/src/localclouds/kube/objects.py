"""What pods and other objects say, read without guessing. Pure: no request, no clock, no knowledge of who
asks.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

Json = dict[str, Any]


class Key(NamedTuple):
    """Namespace ("" for cluster-scoped objects) and name of an object."""

    namespace: str
    name: str


def key_of(obj: Json) -> Key:
    """Where an object lives, from its metadata."""
    metadata = obj["metadata"]
    return Key(metadata.get("namespace", ""), metadata["name"])


def is_terminating(obj: Json) -> bool:
    """Whether someone asked for the object's deletion."""
    return obj["metadata"].get("deletionTimestamp") is not None


def is_ready(pod: Json) -> bool:
    """Whether a pod's Ready condition holds. A terminating pod may still be Ready: callers ask both."""
    conditions = pod.get("status", {}).get("conditions") or []
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)


def selects(selector: dict[str, str] | None, obj: Json) -> bool:
    """Whether an equality selector (as a Service has) matches the object's labels. An absent or empty one
    matches nothing.
    """
    if not selector:
        return False
    labels = obj["metadata"].get("labels") or {}
    return all(labels.get(name) == value for name, value in selector.items())


def parse_time(text: str) -> datetime:
    """Read an API timestamp (RFC 3339 in UTC)."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC)
