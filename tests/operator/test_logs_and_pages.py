"""What the process tells: structured logs without secrets, three pages, metrics that go with their object."""

import asyncio
import re
from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from pilotage.api.evidence import EvidenceCondition
from pilotage.api.types import (
    ClusterState,
    DeploymentStatus,
    GateResult,
    Outcome,
    RevisionStatus,
    RolloutRecord,
    WaveEvidence,
)
from pilotage.figures import Known, RolloutFigures
from pilotage.fleet.skew import skew_of
from pilotage.kube import Key
from pilotage.kube.clock import SystemClock
from pilotage.logs import redact
from pilotage.metrics import Metrics
from pilotage.web import WebServer
from support.polling import eventually_async

KEY = Key("models", "digits")


@pytest.mark.parametrize(
    ("said", "written"),
    [
        ("Authorization: Bearer abc.def", "Authorization: Bearer [redacted]"),
        ("http://me:secret@prometheus:9090/x", "http://[redacted]prometheus:9090/x"),
        ("nothing to hide", "nothing to hide"),
    ],
)
def test_credentials_do_not_reach_the_logs(said: str, written: str) -> None:
    assert redact(said) == written


async def test_pages_say_in_words_what_is_missing() -> None:
    age_s, missing = [0.0], ["the hub's objects"]
    web = WebServer(
        host="127.0.0.1",
        port=0,
        age_s=lambda: age_s[-1],
        missing=lambda: missing[-1],
        expose=lambda: b"x 1\n",
    )
    task = asyncio.create_task(web.run())
    await eventually_async(lambda: web.addresses)
    host, port = web.addresses[0]
    async with aiohttp.ClientSession(f"http://{host}:{port}") as session:

        async def page(path: str) -> tuple[int, str]:
            async with session.get(path) as response:
                return response.status, await response.text()

        assert await page("/readyz") == (503, "waiting for the hub's objects\n")
        assert await page("/livez") == (200, "ok\n")
        age_s.append(11.0)
        missing.append("")
        assert await page("/livez") == (503, "no heartbeat for 11 s\n")
        assert await page("/readyz") == (200, "ok\n")
        assert await page("/metrics") == (200, "x 1\n")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def figures_of(*gates: GateResult, **rollout: Any) -> Known:
    entry = WaveEvidence(
        wave="first",
        step=0,
        state={},
        gates=gates,
        fail_weight=4.0,
        conditions=(EvidenceCondition(type="LabelsLate", message="9 % came late", cluster="aws"),),
    )
    record = RolloutRecord(revision="digits-0a", attempt=2, plan_hash="p", started_at=0.0, **rollout)
    clusters = (ClusterState(name="aws", revision="digits-0a", weight=20),)
    return Known(
        status=DeploymentStatus(rollout=record, clusters=clusters),
        revision=RevisionStatus(attempt=2, evidence=(entry,)),
        beta=0.05,
    )


def test_a_rollouts_evidence_and_verdicts_are_metrics() -> None:
    figures, metrics = RolloutFigures(), Metrics()
    metrics.registry.register(figures)
    gate = GateResult(name="recall", verdict="Pass", estimate=0.93, lower=0.9, log_e_pass=3.1, labels_canary=120)
    figures.put(KEY, figures_of(gate, full_at=1.0))
    text = metrics.expose().decode()
    rollout = 'model="digits",namespace="models"'
    where = f'gate="recall",{rollout}'
    for line in (
        f'pilotage_gate_log_e_pass{{{where},wave="first"}} 3.1',
        f'pilotage_gate_lower{{{where},wave="first"}} 0.9',
        f'pilotage_gate_labels{{arm="canary",{where},wave="first"}} 120.0',
        f'pilotage_gate_verdict{{gate="recall",mode="Blocking",{rollout},verdict="Pass",wave="first"}} 1.0',
        f'pilotage_gate_verdict{{gate="recall",mode="Blocking",{rollout},verdict="Fail",wave="first"}} 0.0',
        f'pilotage_gate_condition{{cluster="aws",condition="LabelsLate",{rollout},wave="first"}} 1.0',
        f"pilotage_rollout_fail_weight{{{rollout}}} 4.0",
        f"pilotage_rollout_fail_threshold{{{rollout}}} 20.0",
        f"pilotage_rollout_baking{{{rollout}}} 1.0",
        f'pilotage_rollout_info{{attempt="2",{rollout},revision="digits-0a"}} 1.0',
        f'pilotage_rollout_weight{{cluster="aws",{rollout},revision="digits-0a"}} 20.0',
    ):
        assert line in text, text
    assert "pilotage_gate_log_e_fail{" not in text, "a side without evidence has no sample"
    figures.drop(KEY)
    assert "digits" not in metrics.expose().decode()


def test_figures_of_a_rollout_go_five_minutes_after_its_end_and_weights_stay() -> None:
    now = [1000.0]
    figures, metrics = RolloutFigures(lambda: now[0]), Metrics()
    metrics.registry.register(figures)
    gate = GateResult(name="recall", verdict="Fail", log_e_fail=4.0)
    figures.put(KEY, figures_of(gate, outcome=Outcome.ROLLED_BACK, decided_at=990.0))
    assert "pilotage_gate_log_e_fail{" in metrics.expose().decode(), "a scrape sees what it ended on"
    now[0] += 300
    text = metrics.expose().decode()
    assert "pilotage_gate_log_e_fail{" not in text
    assert "pilotage_rollout_info{" not in text
    assert "pilotage_rollout_weight{" in text


def test_an_attempt_without_evidence_does_not_show_that_of_the_one_before() -> None:
    figures, metrics = RolloutFigures(), Metrics()
    metrics.registry.register(figures)
    known = figures_of(GateResult(name="recall", verdict="Fail"))
    assert known.revision is not None
    figures.put(KEY, replace(known, revision=replace(known.revision, attempt=1)))
    assert "pilotage_gate_verdict{" not in metrics.expose().decode()


def test_the_alerts_people_can_apply_ask_for_metrics_that_exist() -> None:
    from pathlib import Path

    import yaml

    page = Metrics()
    page.watch(depth=lambda: 0, leading=lambda: True, members=lambda: [("aws", True)])
    figures = RolloutFigures()
    page.registry.register(figures)
    figures.put(KEY, figures_of(GateResult(name="recall", verdict="Fail", log_e_fail=4.0)))
    exported = set(re.findall(r"^pilotage_\w+", page.expose().decode(), re.MULTILINE))
    rules = yaml.safe_load((Path(__file__).parents[2] / "examples" / "monitoring" / "alerts.yaml").read_text())
    expressions = [rule["expr"] for group in rules["spec"]["groups"] for rule in group["rules"]]
    assert {name for each in expressions for name in re.findall(r"pilotage_\w+", each)} <= exported


def test_skew_counts_only_outside_the_span_of_the_call() -> None:
    from datetime import timedelta

    from pilotage.kube import Clock

    clock: Clock = SystemClock()
    asked = clock.now().replace(microsecond=500_000)

    def date(offset_s: float) -> str:
        return (asked + timedelta(seconds=offset_s)).strftime("%a, %d %b %Y %H:%M:%S GMT")

    answered = asked + timedelta(seconds=40)
    assert skew_of(date(0), asked_at=asked, answered_at=answered) == 0.0
    assert skew_of(date(39), asked_at=asked, answered_at=answered) == 0.0
    ahead = skew_of(date(100), asked_at=asked, answered_at=answered)
    behind = skew_of(date(-100), asked_at=asked, answered_at=answered)
    assert ahead is not None
    assert round(ahead) in (59, 60)
    assert behind is not None
    assert round(behind) == -100
    assert skew_of("yesterday", asked_at=asked, answered_at=answered) is None
