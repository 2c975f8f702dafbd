"""What makes a revision: the model and its server, nothing else, for ever the same name."""

from __future__ import annotations

from dataclasses import replace

from pilotage.api import decode
from pilotage.api.revision import plan_hash, revision_name
from pilotage.api.types import AnalysisSpec, DeploymentSpec, Model, Require, Server, Step

MODEL = Model(bundle="registry.example.com/models/digits:2.1.0@sha256:" + "ab" * 32)
SERVER = Server(
    image="registry.example.com/pilotage/server:0.1.0@sha256:" + "cd" * 32, env=({"name": "A", "value": "1"},)
)


def test_golden_names_outlive_every_operator_upgrade():
    assert revision_name("digits", MODEL, SERVER) == "digits-8fc0016e50"
    assert revision_name("digits", MODEL, Server(image=SERVER.image)) == "digits-9f00246750"


def test_the_order_of_keys_makes_no_difference():
    turned = replace(SERVER, env=({"value": "1", "name": "A"},))

    assert revision_name("digits", MODEL, turned) == revision_name("digits", MODEL, SERVER)


def test_replicas_gates_and_traffic_make_no_revision_but_gates_make_a_plan():
    spec = a_spec()
    edited = replace(spec, gates=({"name": "a", "metric": "accuracy", "floor": 0.8},))

    assert revision_name("digits", spec.model, spec.server) == revision_name("digits", edited.model, edited.server)
    assert plan_hash(spec) != plan_hash(edited)


def test_what_acts_live_is_no_part_of_the_plan():
    spec = a_spec()
    edited = replace(
        spec,
        rollout=replace(spec.rollout, max_duration_s=1.0, progress_deadline_s=1.0),
        placement=replace(spec.placement, replicas_per_cluster=9),
        analysis=replace(spec.analysis, interval_s=1.0),
    )

    assert plan_hash(spec) == plan_hash(edited)


def test_what_the_evidence_was_gathered_under_is_the_plan():
    spec = a_spec()
    changed_analysis = [
        replace(spec.analysis, alpha=0.01),
        replace(spec.analysis, beta=0.01),
        replace(spec.analysis, min_samples=7),
    ]
    edits = [
        replace(spec, feedback=replace(spec.feedback, label_delay_s=1.0)),
        replace(spec, rollout=replace(spec.rollout, steps=(Step(weight=11),))),
        replace(spec, rollout=replace(spec.rollout, steps=(Step(weight=11, require=Require.PASS),))),
        replace(spec, gates=({"name": "a", "metric": "fBeta", "class": "x", "beta": 2, "floor": 0.8},)),
        *(replace(spec, analysis=analysis) for analysis in changed_analysis),
    ]

    assert len({plan_hash(edited) for edited in [spec, *edits]}) == len(edits) + 1


def a_spec() -> DeploymentSpec:
    obj = {
        "metadata": {"name": "digits"},
        "spec": {
            "model": {"bundle": MODEL.bundle},
            "server": {"image": SERVER.image},
            "placement": {"clusterSelector": {}},
        },
    }
    spec = decode.model_deployment(obj).spec
    assert spec is not None
    assert isinstance(spec.analysis, AnalysisSpec)
    return spec
