"""Rights as API servers saw them used: an audit log in, the set of (group, resource, verb) out.

A server-side apply that makes an object is authorised as create too, though the log only says patch: its code is 201.
What any authenticated user may do anyway (discovery, health pages) is no right of ours and left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple


class Use(NamedTuple):
    """One kind of request that was allowed; `resource` has its subresource, as RBAC writes it."""

    group: str
    resource: str
    verb: str


def uses(audit_log: Path, user: str) -> frozenset[Use]:
    """What `user` was allowed and did."""
    return frozenset(use for event in _events(audit_log, user) for use in _uses(event))


def writes(audit_log: Path, user: str) -> list[Mapping[str, Any]]:
    """The audit events of every write of `user`, in order."""
    return [event for event in _events(audit_log, user) if event["verb"] not in ("get", "list", "watch")]


def granted(rules: list[dict[str, Any]]) -> frozenset[Use]:
    """What RBAC rules allow, one by one."""
    return frozenset(
        Use(group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    )


def _events(audit_log: Path, user: str) -> Iterator[dict[str, Any]]:
    for line in audit_log.read_text().splitlines():
        event = json.loads(line)
        if event["user"]["username"] == user and "objectRef" in event:
            yield event


def _uses(event: Mapping[str, Any]) -> Iterator[Use]:
    if event.get("responseStatus", {}).get("code", 0) in (401, 403):
        return
    reference = event["objectRef"]
    resource = reference["resource"]
    if "subresource" in reference:
        resource = f"{resource}/{reference['subresource']}"
    yield Use(reference.get("apiGroup", ""), resource, event["verb"])
    if event["verb"] == "patch" and event.get("responseStatus", {}).get("code") == 201:
        yield Use(reference.get("apiGroup", ""), resource, "create")
