"""A rollout gated on F1, ranking, loss and latency at once, in bad weather: the same end, every label counted once."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from demo import ledger, load, manifests, setup, story, traffic
from localclouds import Cloud
from pilotage.api.types import GateResult, Outcome
from support import storm
from support.stage import anew

pytestmark = [pytest.mark.xdist_group("e2e"), pytest.mark.timeout(900)]

GATES: list[dict[str, Any]] = [
    {"name": "f1", "metric": "f1", "average": "macro", "margin": 0.2},
    {"name": "ranking", "metric": "rocAuc", "average": "macro", "margin": 0.1},
    {"name": "loss", "metric": "logLoss", "margin": 1.5},
    {"name": "fast", "metric": "latency", "bound": "333ms", "floor": 0.5},
]


@pytest.fixture
def at_v1(stage: story.Stage) -> Iterator[story.Stage]:
    """The stage with v1 promoted everywhere, and left like that for whatever test comes next."""
    spec = stage.hub.snapshot(manifests.NAME).deployment.spec
    if spec is None or spec.model.bundle != stage.models.references["v1"]:
        anew(stage)
    yield stage
    anew(stage)


def test_four_kinds_of_gates_pass_while_collector_and_prometheus_come_and_go(at_v1: story.Stage):
    stage = at_v1
    aws, draw = stage.clouds["aws"], random.Random(21)
    before = counted(aws)
    apply(stage, "v2")

    with traffic.running(
        {"aws": aws.gateway_url}, stage.models.held_back, stage.folder, seed=3, repost=True
    ) as requests:
        story.follow(stage, lambda snapshot: gates_of(snapshot) != (), 240)
        assert storm.kill(stage.clouds, "pilotage-server", "collect", draw=draw)
        with aws.stopped("prometheus"):
            threading.Event().wait(4.0)
        found = story.follow(stage, story.ended(Outcome.PROMOTED), 300)
        account = requests.stop()

    gates = {gate.name: gate for gate in gates_of(found)}
    assert {name: gate.verdict for name, gate in gates.items()} == dict.fromkeys(
        ("f1", "ranking", "loss", "fast"), "Pass"
    )
    assert all(gate.labels_canary > 100 and gate.labels_stable > 100 for gate in gates.values())
    for gated in ("f1", "ranking", "loss"):
        assert gates[gated].difference is not None
    assert "333" in gates["fast"].note
    assert gates["loss"].labels_canary == gates["f1"].labels_canary, "each label has its loss, counted once"
    comparison = ledger.compare(account, lambda: counted(aws) - before)
    assert comparison.labels > 1_000
    assert comparison.wrong == ()


def counted(cloud: Cloud) -> Counter[ledger.Cell]:
    """Everything the collector has counted, in earlier tests too."""
    return ledger.counted({cloud.name: cloud.prometheus_url}, 900.0)


def apply(stage: story.Stage, version: str) -> None:
    """The demo's deployment with other gates, in one cluster."""
    manifest = manifests.model_deployment(stage.models.references[version], stage.image, load.HOSTNAME)
    manifest["spec"]["gates"] = GATES
    manifest["spec"]["placement"]["clusterSelector"] = {"matchLabels": {"only": "aws"}}
    manifest["spec"]["rollout"]["waves"] = []
    manifest["spec"]["rollout"]["steps"] = [{"weight": 50}]
    hub = stage.clouds["hub"].kubeconfig
    setup.kubectl(hub, "label", "mcl", "aws", "only=aws", "--overwrite")
    setup.apply(hub, manifest)


def gates_of(snapshot: Any) -> tuple[GateResult, ...]:
    rollout = snapshot.deployment.status.rollout
    found = next((each for each in snapshot.revisions if rollout and each.metadata.name == rollout.revision), None)
    entries = found.status.evidence if found is not None else ()
    return tuple(gate for entry in entries for gate in entry.gates)
