"""What `pilotage get NAME` prints, whole, and what the list prints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pilotage.api import decode, encode
from pilotage.api.types import (
    ClusterState,
    DeploymentStatus,
    Difference,
    EvidenceCondition,
    GateResult,
    ModelRevision,
    Outcome,
    Phase,
    RevisionStatus,
    RolloutRecord,
    StepRecord,
    WaveEvidence,
    WaveRecord,
)
from pilotage.cli import table, tree
from pilotage.cli.hub import Snapshot

NOW = 1_800_000_000.0
SPEC: dict[str, Any] = {
    "model": {"bundle": "registry.example.com/models/digits:2.1.0@sha256:" + "ab" * 32},
    "server": {"image": "registry.example.com/server:1"},
    "placement": {"clusterSelector": {}, "replicasPerCluster": 3},
    "rollout": {
        "steps": [{"weight": 10}, {"weight": 50}],
        "waves": [{"name": "first", "clusters": ["aws"]}, {"name": "rest"}],
    },
    "gates": [
        {"name": "recall-of-8", "metric": "recall", "class": "8", "floor": 0.9},
        {"name": "precision", "metric": "precision", "average": "macro", "margin": 0.02},
    ],
}
GATES = (
    GateResult(
        name="recall-of-8",
        verdict="Pass",
        estimate=0.931,
        lower=0.902,
        upper=0.953,
        labels_stable=1311,
        labels_canary=1204,
    ),
    GateResult(name="precision", verdict="InsufficientData"),
)
IN_WAVE_ONE = RolloutRecord(
    revision="digits-bbbbbbbbbb",
    attempt=2,
    plan_hash="p",
    started_at=NOW - 300,
    waves=(
        WaveRecord(
            name="first",
            clusters=("aws",),
            started_at=NOW - 240,
            steps=(
                StepRecord(weight=10, started_at=NOW - 200, observed_at=NOW - 190),
                StepRecord(weight=50, started_at=NOW - 60, observed_at=NOW - 50),
            ),
        ),
    ),
)


def a_snapshot(
    rollout: RolloutRecord,
    *,
    phase: Phase,
    stable: str | None,
    message: str = "",
    spec: Mapping[str, Any] = SPEC,
    evidence: WaveEvidence | None = None,
    **more: Any,
) -> Snapshot:
    status = DeploymentStatus(
        observed_generation=2,
        phase=phase,
        message=message,
        stable_revision=stable,
        target_revision=rollout.revision,
        rollout=rollout,
        **more,
    )
    raw = {
        "metadata": {
            "name": "digits",
            "namespace": "models",
            "uid": "u",
            "generation": 2,
            "creationTimestamp": "2027-01-08T08:00:00Z",
        },
        "spec": spec,
        "status": encode.deployment_status(status),
    }
    return Snapshot(
        raw={"deployment": raw},
        deployment=decode.model_deployment(raw),
        revisions=(
            a_revision("digits-aaaaaaaaaa", "1.9.0"),
            a_revision("digits-bbbbbbbbbb", "2.1.0", evidence or OF_WAVE_ONE),
        ),
    )


OF_WAVE_ONE = WaveEvidence(wave="first", step=1, state={}, gates=GATES, verdict="Inconclusive")


def a_revision(name: str, tag: str, *evidence: WaveEvidence) -> ModelRevision:
    found = decode.model_revision(
        {
            "metadata": {"name": name, "creationTimestamp": "2027-01-15T07:50:00Z"},
            "spec": {
                "model": {"bundle": f"registry.example.com/models/digits:{tag}@sha256:" + "ab" * 32},
                "server": {"image": "s"},
            },
            "status": encode.revision_status(RevisionStatus(attempt=1, evidence=evidence)),
        }
    )
    assert found is not None
    return found


def test_a_canary_in_its_first_wave_shows_waves_clusters_and_gates():
    snapshot = a_snapshot(
        IN_WAVE_ONE,
        phase=Phase.PROGRESSING,
        stable="digits-aaaaaaaaaa",
        message="wave first: waiting for labels",
        step="first 2/2",
        weight=50,
        clusters_summary="0/3",
        verdict="Inconclusive",
        clusters=(
            ClusterState(name="aws", revision="digits-bbbbbbbbbb", weight=50, state="Canary"),
            ClusterState(name="azure", revision="digits-aaaaaaaaaa", weight=100, state="Serving"),
            ClusterState(name="gcp", revision="digits-aaaaaaaaaa", weight=100, state="Unreachable"),
        ),
    )

    assert tree.render(snapshot, NOW) == (Path(__file__).parent / "tree.txt").read_text()


def test_a_rollout_that_came_back_says_how_it_ended_and_shows_the_gates_that_decided():
    ended = replace(IN_WAVE_ONE, outcome=Outcome.ROLLED_BACK, decided_at=NOW)
    text = tree.render(a_snapshot(ended, phase=Phase.DEGRADED, stable="digits-aaaaaaaaaa"), NOW)

    assert "├──# digits-bbbbbbbbbb  ModelRevision    ✖ RolledBack (attempt 2)" in text
    assert "α recall-of-8" in text
    assert "Wave" not in text


def test_a_bake_shows_how_long_it_lasts_and_what_is_held_back():
    full = StepRecord(weight=95, started_at=NOW - 1300, observed_at=NOW - 1200)
    wave = replace(IN_WAVE_ONE.waves[0], steps=(*IN_WAVE_ONE.waves[0].steps, full), passed_at=NOW - 1200)
    rollout = replace(IN_WAVE_ONE, waves=(wave,), full_at=NOW - 1200)
    spec = {**SPEC, "rollout": {**SPEC["rollout"], "bake": {"duration": "1h", "holdback": 5}}}
    text = tree.render(a_snapshot(rollout, phase=Phase.PROGRESSING, stable="digits-aaaaaaaaaa", spec=spec), NOW)

    (line,) = [line for line in text.splitlines() if "≈ bake" in line]
    assert " ".join(line.split()) == "│ └──≈ bake Bake ◌ baking 20m 40m left, 5 % held back on stable"
    assert "✔ passed" in text


def test_an_advisory_gate_a_margin_and_what_does_not_hold_are_told():
    gate = GateResult(
        name="precision",
        verdict="Inconclusive",
        estimate=0.9,
        lower=0.88,
        upper=0.92,
        labels_canary=120,
        difference=Difference(estimate=-0.01, lower=-0.03, upper=0.01),
        advisory=True,
        eta_s=1200,
        note="counts requests under 0.2 s",
    )
    late = EvidenceCondition(type="LabelsLate", cluster="aws", message="9 % came late; labelDelay 20m would fit")
    evidence = replace(OF_WAVE_ONE, gates=(gate,), conditions=(late,))
    text = tree.render(a_snapshot(IN_WAVE_ONE, phase=Phase.PROGRESSING, stable=None, evidence=evidence), NOW)

    assert (
        "precision[macro] 0.900 [0.880, 0.920] n=120 Δ -0.010 [-0.030, 0.010] margin 0.02"
        " ◌ Inconclusive (advisory, a pass in about 20m, counts requests under 0.2 s)"
    ) in text
    assert "⚠ LabelsLate" in text
    assert "aws: 9 % came late; labelDelay 20m would fit" in text


def test_a_step_that_requires_a_pass_says_so():
    spec = {**SPEC, "rollout": {**SPEC["rollout"], "steps": [{"weight": 10}, {"weight": 50, "require": "Pass"}]}}
    text = tree.render(a_snapshot(IN_WAVE_ONE, phase=Phase.PROGRESSING, stable=None, spec=spec), NOW)

    assert "◌ step 2/2, requires Pass" in text


def test_an_edit_nobody_has_looked_at_yet_is_in_progress_whatever_the_old_phase_says():
    snapshot = a_snapshot(IN_WAVE_ONE, phase=Phase.HEALTHY, stable=None)
    raw = {**snapshot.raw["deployment"], "metadata": {**snapshot.raw["deployment"]["metadata"], "generation": 3}}

    assert "◌ Progressing" in tree.render(Snapshot(raw=raw, deployment=decode.model_deployment(raw), revisions=()), NOW)


def test_the_list_has_the_columns_of_kubectl():
    snapshot = a_snapshot(
        IN_WAVE_ONE, phase=Phase.PAUSED, stable=None, step="first 2/2", weight=50, clusters_summary="0/3"
    )

    assert table.render([snapshot.deployment], NOW, all_namespaces=True) == (
        "NAMESPACE  NAME    PHASE     STEP       WEIGHT  CLUSTERS  VERDICT  MODEL         AGE\n"
        "models     digits  ॥ Paused  first 2/2  50      0/3       –        digits:2.1.0  7d\n"
    )
    assert table.render([], NOW, all_namespaces=False) == "No ModelDeployments found.\n"
