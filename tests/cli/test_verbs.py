"""What each verb writes, what it refuses to write, and that it names exactly what it acts on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pilotage.api import decode, encode
from pilotage.api.types import (
    DeploymentStatus,
    ModelDeployment,
    Outcome,
    Phase,
    RolloutRecord,
    StepRecord,
    WaveRecord,
)
from pilotage.cli import verbs
from pilotage.cli.errors import CommandFailed
from pilotage.cli.progress import is_over, status_line

STEP = StepRecord(weight=10, started_at=1.0)
ROLLOUT = RolloutRecord(
    revision="digits-aaaaaaaaaa",
    attempt=3,
    plan_hash="p",
    started_at=1.0,
    waves=(
        WaveRecord(name="first", clusters=("aws",), started_at=1.0, steps=(STEP,), passed_at=2.0),
        WaveRecord(name="rest", clusters=("gcp",), started_at=2.0, steps=(STEP, replace(STEP, weight=50))),
    ),
)


def a_deployment(rollout: RolloutRecord | None = ROLLOUT, *, paused: bool = False, **status: object) -> ModelDeployment:
    written = encode.deployment_status(DeploymentStatus(rollout=rollout, observed_generation=1, **status))  # type: ignore[arg-type]
    spec = {
        "model": {"bundle": "a@sha256:0"},
        "server": {"image": "s"},
        "placement": {"clusterSelector": {}},
        "paused": paused,
    }
    return decode.model_deployment({"metadata": {"name": "digits", "generation": 1}, "spec": spec, "status": written})


def annotated(verb: str, value: str) -> dict[str, object]:
    return {"metadata": {"annotations": {f"pilotage.dev/{verb}": value}}}


def test_verbs_name_the_rollout_and_the_step_they_act_on():
    deployment = a_deployment()

    assert verbs.abort(deployment) == annotated("abort", "digits-aaaaaaaaaa.3")
    assert verbs.promote(deployment) == annotated("promote", "digits-aaaaaaaaaa.3/rest/1")
    assert verbs.promote_full(deployment) == annotated("promote-full", "digits-aaaaaaaaaa.3")


@pytest.mark.parametrize("outcome", [Outcome.ROLLED_BACK, Outcome.ABORTED, Outcome.EXPIRED])
def test_retry_names_the_attempt_that_ended(outcome: Outcome):
    deployment = a_deployment(replace(ROLLOUT, outcome=outcome))

    assert verbs.retry(deployment, fresh=False) == annotated("retry", "digits-aaaaaaaaaa.3")
    assert verbs.retry(deployment, fresh=True) == annotated("retry-fresh", "digits-aaaaaaaaaa.3")


@pytest.mark.parametrize("rollout", [None, replace(ROLLOUT, outcome=Outcome.PROMOTED)], ids=["none", "promoted"])
def test_there_is_nothing_to_abort_promote_or_retry_once_it_is_over(rollout: RolloutRecord | None):
    deployment = a_deployment(rollout)

    with pytest.raises(CommandFailed, match="no rollout is under way to abort"):
        verbs.abort(deployment)
    with pytest.raises(CommandFailed, match="no rollout is under way to promote"):
        verbs.promote(deployment)
    with pytest.raises(CommandFailed, match="nothing to retry"):
        verbs.retry(deployment, fresh=False)


def test_a_rollout_under_way_cannot_be_retried_and_a_waveless_one_not_promoted():
    with pytest.raises(CommandFailed, match="nothing to retry"):
        verbs.retry(a_deployment(), fresh=False)
    with pytest.raises(CommandFailed, match="no step is under way yet"):
        verbs.promote(a_deployment(replace(ROLLOUT, waves=())))


def test_a_bake_has_no_step_to_promote_and_names_what_ends_it():
    baking = replace(ROLLOUT, waves=ROLLOUT.waves[:1], full_at=3.0)

    with pytest.raises(CommandFailed, match="promote digits --full"):
        verbs.promote(a_deployment(baking))
    assert verbs.promote_full(a_deployment(baking)) == annotated("promote-full", "digits-aaaaaaaaaa.3")
    assert verbs.abort(a_deployment(baking)) == annotated("abort", "digits-aaaaaaaaaa.3")


def test_pause_and_resume_set_spec_paused_once():
    assert verbs.pause(a_deployment()) == {"spec": {"paused": True}}
    assert verbs.resume(a_deployment(paused=True)) == {"spec": {"paused": False}}
    with pytest.raises(CommandFailed, match="is paused already"):
        verbs.pause(a_deployment(paused=True))
    with pytest.raises(CommandFailed, match=r"not paused by spec\.paused"):
        verbs.resume(a_deployment())


@pytest.mark.parametrize(
    ("phase", "message", "line", "over"),
    [
        (Phase.HEALTHY, "all good", "Healthy", True),
        (Phase.PROGRESSING, "wave first", "Progressing - wave first", False),
        (Phase.PAUSED, "step pauses", "Paused - step pauses", True),
        (Phase.DEGRADED, "recall too low", "Degraded - recall too low", True),
    ],
)
def test_status_is_said_as_argo_says_it(phase: Phase, message: str, line: str, over: bool):
    deployment = a_deployment(phase=phase, message=message)

    assert status_line(deployment) == line
    assert is_over(deployment) is over
