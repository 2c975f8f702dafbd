"""JSON to values and back: what is written is read again, and mistakes come with path, value and remedy."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotage.api import codec, decode, encode
from pilotage.api.times import format_time, parse_duration, parse_time
from pilotage.api.types import (
    Condition,
    DeploymentStatus,
    EvidenceBoundary,
    GateResult,
    Outcome,
    Phase,
    RevisionStatus,
    RolloutRecord,
    Step,
    StepRecord,
    WaveEvidence,
    WaveRecord,
)

names = st.text("abcdefgh-", min_size=1, max_size=10)
moments = st.integers(1, 4_000_000_000_000).map(lambda milliseconds: milliseconds / 1000)
durations = st.integers(0, 10**9).map(lambda milliseconds: milliseconds / 1000)
steps = st.builds(
    StepRecord, weight=st.integers(1, 99), started_at=moments, observed_at=st.none() | moments, shifted_s=durations
)
waves = st.builds(
    WaveRecord,
    name=names,
    clusters=st.lists(names).map(tuple),
    started_at=moments,
    steps=st.lists(steps, max_size=3).map(tuple),
    passed_at=st.none() | moments,
)
rollouts = st.builds(
    RolloutRecord,
    revision=names,
    attempt=st.integers(1, 99),
    plan_hash=names,
    started_at=moments,
    waves=st.lists(waves, max_size=3).map(tuple),
    outcome=st.none() | st.sampled_from(Outcome),
    shifted_s=durations,
    held=st.booleans(),
)
conditions = st.builds(
    Condition,
    type=names,
    status=st.sampled_from(["True", "False", "Unknown"]),
    reason=names,
    message=st.text(max_size=20),
    observed_generation=st.integers(1, 9),
    last_transition_time=moments,
)
statuses = st.builds(
    DeploymentStatus,
    observed_generation=st.integers(0, 9),
    phase=st.sampled_from(Phase),
    stable_revision=st.none() | names,
    rollout=st.none() | rollouts,
    verbs=st.dictionaries(names, names, max_size=2),
    conditions=st.lists(conditions, max_size=3).map(tuple),
)
gates = st.builds(
    GateResult, name=names, verdict=names, estimate=st.none() | st.floats(0, 1), labels_canary=st.integers(0, 9)
)
boundaries = st.builds(EvidenceBoundary, cluster=names, at=moments, checksum=names)
evidence = st.builds(
    WaveEvidence,
    wave=names,
    step=st.integers(0, 9),
    state=st.dictionaries(names, st.integers(), max_size=2),
    boundaries=st.lists(boundaries, max_size=2).map(tuple),
    gates=st.lists(gates, max_size=2).map(tuple),
)
revision_statuses = st.builds(
    RevisionStatus, attempt=st.integers(0, 9), evidence=st.lists(evidence, max_size=2).map(tuple)
)


@given(statuses)
def test_a_deployment_status_survives_the_api_server(status: DeploymentStatus):
    assert codec.decode(DeploymentStatus, encode.deployment_status(status), "status", []) == status


@given(revision_statuses)
def test_a_revision_status_survives_the_api_server(status: RevisionStatus):
    assert codec.decode(RevisionStatus, encode.revision_status(status), "status", []) == status


@given(moments)
def test_a_time_keeps_its_milliseconds(moment: float):
    assert parse_time(format_time(moment)) == pytest.approx(moment, abs=1e-6)


@given(durations)
def test_a_duration_is_read_back_as_written(seconds: float):
    assert parse_duration(codec.format_duration(seconds)) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10m", 600), ("1h30m", 5400), ("250ms", 0.25), ("1.5h", 5400), ("0s", 0)]
)
def test_durations_are_those_users_of_kubernetes_write(text: str, seconds: float):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "5 minutes", "-5m", "5d", "m", "1h 30m"])
def test_other_durations_are_refused_with_the_form_to_write(text: str):
    with pytest.raises(ValueError, match=r"is not a duration; write for example 90s, 10m or 1h30m"):
        parse_duration(text)


@pytest.mark.parametrize("step", [Step(weight=10), Step(weight=10, pause_s=300.0), Step(weight=10, pause_s=math.inf)])
def test_a_step_is_written_as_its_user_wrote_it(step: Step):
    spec = {"rollout": {"steps": [encode.step_json(step)]}, **MINIMAL}

    decoded = decode.model_deployment({"metadata": {"name": "digits"}, "spec": spec})

    assert decoded.spec is not None
    assert decoded.spec.rollout.steps == (step,)


def test_every_mistake_of_a_spec_is_named_at_once():
    spec = {
        "model": {},
        "server": {"image": 7},
        "rollout": {"maxDuration": "5 days", "steps": [{"weight": "ten"}]},
        "traffic": {"mode": "Mesh"},
    }

    decoded = decode.model_deployment({"metadata": {"name": "digits"}, "spec": spec})

    assert decoded.spec is None
    assert set(decoded.problems) == {
        "spec.model.bundle: missing; it is required",
        "spec.server.image: 7 is not a string",
        "spec.rollout.maxDuration: '5 days' is not a duration; write for example 90s, 10m or 1h30m",
        "spec.rollout.steps[0].weight: 'ten' is not an integer",
        "spec.traffic.mode: 'Mesh' is not one of Replicas, Gateway",
    }


def test_a_status_nobody_can_read_is_as_if_there_were_none():
    decoded = decode.model_deployment({"metadata": {"name": "digits"}, "spec": MINIMAL, "status": {"phase": "Odd"}})

    assert decoded.status == DeploymentStatus()


MINIMAL = {
    "model": {"bundle": "registry.example.com/digits@sha256:" + "0" * 64},
    "server": {"image": "registry.example.com/server:1"},
    "placement": {"clusterSelector": {}},
}
