"""Questions to Prometheus and events: at most one of a kind at a time, never waited for, never multiplied."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from pilotage.api.reasons import Reason
from pilotage.engine.readings import Readings
from pilotage.evidence.reading import BlockQuery, Unavailable, Window
from pilotage.fleet.link import NotUsable
from pilotage.hub.events import REPEAT_AFTER_S, EventRecorder, Regarding
from pilotage.kube import Key
from pilotage.kube.resources import EVENTS
from support.apisim import ApiSim, Fault
from support.virtual_time import VirtualClock, virtually

KEY = Key("models", "digits")
NOTHING = json.dumps({"status": "success", "data": {"resultType": "vector", "result": []}}).encode()


def a_query(cluster: str = "aws", asked_at: float = 0.0) -> BlockQuery:
    return BlockQuery(
        cluster=cluster,
        namespace=KEY.namespace,
        model=KEY.name,
        wave="first",
        stable="digits-a",
        canary="digits-b",
        window=Window(step=0, opens=1.0, closes=None),
        since=None,
        label_delay_s=10.0,
        asked_at=asked_at,
    )


class Desk:
    """Readings over a Prometheus that answers, slowly, with nothing, and counts how many ask at once."""

    def __init__(self, *, answers_after_s: float = 1.0, at_once: int = 2) -> None:
        self.notified: list[Key] = []
        self.asking, self.most = 0, 0
        self.answers_after_s = answers_after_s
        self.error: Exception | None = None
        self.readings = Readings(
            self.fetch, VirtualClock(), notify=self.notified.append, timeout_s=10.0, at_once=at_once
        )

    async def fetch(self, cluster: str, promql: str, at: float | None) -> bytes:
        self.asking += 1
        self.most = max(self.most, self.asking)
        try:
            await asyncio.sleep(self.answers_after_s)
        finally:
            self.asking -= 1
        if self.error is not None:
            raise self.error
        now = VirtualClock().now().timestamp()
        clock = {"status": "success", "data": {"resultType": "scalar", "result": [now, str(now)]}}
        return json.dumps(clock).encode() if promql == "time()" else NOTHING

    def reason(self) -> str:
        (reading,) = self.readings.answers(KEY)
        return reading.reason if isinstance(reading, Unavailable) else "answered"


@virtually
async def test_a_question_is_seen_as_asked_until_its_answer_is_there() -> None:
    desk = Desk()
    task = asyncio.create_task(desk.readings.run())
    desk.readings.schedule(KEY, (a_query(),))
    assert desk.readings.asked(KEY) == (a_query(),)
    await asyncio.sleep(20)
    assert desk.readings.asked(KEY) == ()
    assert len(desk.readings.answers(KEY)) == 1
    assert desk.notified == [KEY]
    task.cancel()


@virtually
async def test_a_newer_question_makes_the_answer_to_the_older_one_worthless() -> None:
    desk = Desk()
    task = asyncio.create_task(desk.readings.run())
    desk.readings.schedule(KEY, (a_query(asked_at=1.0),))
    await asyncio.sleep(0.5)
    desk.readings.schedule(KEY, (a_query(asked_at=2.0),))
    await asyncio.sleep(30)
    (reading,) = desk.readings.answers(KEY)
    assert reading.query.asked_at == 2.0
    assert desk.notified == [KEY]
    task.cancel()


@virtually
async def test_only_so_many_are_asked_at_once() -> None:
    desk = Desk(at_once=2)
    task = asyncio.create_task(desk.readings.run())
    desk.readings.schedule(KEY, tuple(a_query(f"c{number}") for number in range(9)))
    await asyncio.sleep(60)
    assert desk.most == 2
    assert len(desk.readings.answers(KEY)) == 9
    task.cancel()


@virtually
async def test_a_silent_prometheus_costs_its_deadline() -> None:
    desk = Desk(answers_after_s=3600.0)
    task = asyncio.create_task(desk.readings.run())
    desk.readings.schedule(KEY, (a_query(),))
    await asyncio.sleep(10.1)
    assert desk.reason() == "PrometheusUnreachable"
    task.cancel()


@virtually
async def test_what_the_member_cluster_lacks_is_said_in_its_own_reason() -> None:
    desk = Desk()
    desk.error = NotUsable(Reason.PROMETHEUS_MISSING, "set spec.prometheus.url")
    task = asyncio.create_task(desk.readings.run())
    desk.readings.schedule(KEY, (a_query(),))
    await asyncio.sleep(5)
    assert desk.reason() == "PrometheusMissing"
    task.cancel()


@virtually
async def test_a_forgotten_key_gets_no_answer() -> None:
    desk = Desk()
    task = asyncio.create_task(desk.readings.run())
    desk.readings.schedule(KEY, (a_query(),))
    await asyncio.sleep(0.5)
    desk.readings.forget(KEY)
    await asyncio.sleep(30)
    assert desk.readings.answers(KEY) == ()
    assert desk.notified == []
    task.cancel()


# -------------------------------------------------------------------------------------------------------------- events


class Recorder:
    """An event recorder on a simulated hub."""

    def __init__(self, *, leading: bool = True) -> None:
        self.sim = ApiSim("hub", wall=VirtualClock().now)
        self.recorder = EventRecorder(self.sim.client(), VirtualClock(), instance="replica-1", leading=lambda: leading)
        self.task = asyncio.create_task(self.recorder.run())

    def record(self, note: str = "a step began") -> None:
        regarding = Regarding(kind="ModelDeployment", key=KEY, uid="u1")
        self.recorder.record(regarding, type_="Normal", reason="StepStarted", note=note)

    def stored(self) -> list[dict[str, Any]]:
        return list(self.sim.state.objects(EVENTS))


@virtually
async def test_the_same_event_is_posted_once_and_counted_when_it_comes_again() -> None:
    events = Recorder()
    events.record()
    events.record()
    await asyncio.sleep(1)
    assert len(events.sim.log.writes()) == 1
    await asyncio.sleep(REPEAT_AFTER_S)
    events.record()
    await asyncio.sleep(1)
    (stored,) = events.stored()
    assert stored["series"]["count"] == 2
    events.task.cancel()


@virtually
async def test_a_successor_counts_on_the_event_that_is_there() -> None:
    events = Recorder()
    events.record()
    await asyncio.sleep(1)
    events.task.cancel()
    events.recorder = EventRecorder(events.sim.client(), VirtualClock(), instance="replica-2", leading=lambda: True)
    events.task = asyncio.create_task(events.recorder.run())
    events.record()
    await asyncio.sleep(1)
    assert len(events.stored()) == 1
    events.task.cancel()


@virtually
async def test_events_that_cannot_be_posted_cost_events_only() -> None:
    events = Recorder()
    events.sim.log.fault_of = lambda call: Fault.UNAVAILABLE if call.number == 0 else None
    events.record("lost")
    events.record("kept")
    await asyncio.sleep(1)
    assert [each["note"] for each in events.stored()] == ["kept"]
    events.task.cancel()


@virtually
async def test_a_standby_posts_nothing() -> None:
    events = Recorder(leading=False)
    events.record()
    await asyncio.sleep(1)
    assert events.stored() == []
    events.task.cancel()


@virtually
async def test_a_long_note_is_cut_to_what_the_api_server_takes() -> None:
    events = Recorder()
    events.record("ü" * 2000)
    await asyncio.sleep(1)
    (stored,) = events.stored()
    assert len(stored["note"].encode()) <= 1024
    events.task.cancel()
