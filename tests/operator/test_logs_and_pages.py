"""What the process tells: structured logs without secrets, three pages, metrics that go with their object."""

import asyncio

import aiohttp
import pytest

from pilotage.api.types import ClusterState, DeploymentStatus, GateResult, RevisionStatus, WaveEvidence
from pilotage.fleet.skew import skew_of
from pilotage.kube import Key
from pilotage.kube.clock import SystemClock
from pilotage.logs import redact
from pilotage.metrics import Metrics, RolloutFigures
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


def test_figures_of_a_rollout_go_with_the_deployment() -> None:
    figures, metrics = RolloutFigures(), Metrics()
    metrics.registry.register(figures)
    gate = GateResult(name="recall", verdict="Pass", estimate=0.93, lower=0.9, log_e_pass=3.1, labels_canary=120)
    status = DeploymentStatus(
        target_revision="digits-0a", clusters=(ClusterState(name="aws", revision="digits-0a", weight=20),)
    )
    figures.put(
        KEY,
        status,
        RevisionStatus(attempt=2, evidence=(WaveEvidence(wave="first", step=0, state={}, gates=(gate,)),)),
    )
    text = metrics.expose().decode()
    common = 'model="digits",namespace="models",revision="digits-0a"'
    assert f'pilotage_gate_log_evidence{{attempt="2",gate="recall",{common},side="pass",wave="first"}} 3.1' in text
    assert 'side="fail"' not in text, "a side without evidence has no sample"
    assert f'pilotage_gate_estimate{{attempt="2",bound="lower",gate="recall",{common},wave="first"}} 0.9' in text
    assert 'pilotage_rollout_weight{cluster="aws",model="digits",namespace="models",revision="digits-0a"} 20.0' in text
    figures.drop(KEY)
    assert "digits" not in metrics.expose().decode()


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
