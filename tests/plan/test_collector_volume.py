"""What a real API server makes of the collector's claim: it stays as we wrote it, and no update can change it."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from localclouds import Cloud
from pilotage.api.types import Feedback, Server, Storage
from pilotage.kube import is_subset
from pilotage.plan import manifests
from pilotage.plan.observed import Manifest
from support.clouds import get, try_kubectl

pytestmark = pytest.mark.clouds


def a_collector(namespace: str, storage: Storage | None) -> Manifest:
    owner = manifests.Owner(deployment="digits", namespace=namespace, origin="11111111.2222-uid", cluster="aws")
    feedback = Feedback(label_delay_s=60.0, storage=storage)
    return manifests.collector(owner, Server(image="server"), feedback)[2]


def apply(hub: Cloud, manifest: Manifest) -> Any:
    arguments = ("apply", "--server-side", "--field-manager=pilotage", "-f", "-")
    return try_kubectl(hub, *arguments, stdin=yaml.safe_dump(json.loads(json.dumps(manifest))))


def test_a_claim_that_is_there_is_not_written_again_and_another_needs_another_workload(hub: Cloud, namespace: str):
    wanted = a_collector(namespace, Storage(size="1Gi", storage_class_name="ssd"))

    applied = apply(hub, wanted)
    live = get(hub, "statefulset", "digits-collector", "-n", namespace)
    refused = apply(hub, a_collector(namespace, Storage(size="2Gi", storage_class_name="ssd")))

    assert applied.returncode == 0, applied.stderr
    assert is_subset(wanted, live), "every reconcile would write it again"
    assert not manifests.claims_differ(live, wanted)
    assert refused.returncode != 0
    assert "updates to statefulset spec for fields other than" in refused.stderr
    assert manifests.claims_differ(live, a_collector(namespace, Storage(size="2Gi", storage_class_name="ssd")))
    assert manifests.claims_differ(live, a_collector(namespace, None))
