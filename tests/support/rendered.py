"""What a chart grants, from its rendered manifests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from localclouds.helm import Helm

KEYS = {"bundleKeys": {"team.pub": "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n"}}


def rules_of(chart: Path, kind: str) -> list[dict[str, Any]]:
    """The rules of every Role or ClusterRole of a chart that is bound to our own account."""
    values = KEYS if chart.name == "pilotage-member" else {"createClusterAggregateRoles": False}
    documents = yaml.safe_load_all(Helm().template("pilotage", chart, namespace="pilotage", values=values))
    return [rule for document in documents if document and document["kind"] == kind for rule in document["rules"]]
