"""A mirrored canary: what it would have answered meets stable's labels at the collector."""

import asyncio
import contextlib

import numpy as np
import pytest

from pilotage_server.feedback import Asked, CollectorLink, Issuer, Shadow, TokenSigner
from pilotage_server.feedback.collector.ledger import Ledger
from pilotage_server.feedback.messages import Decision, Decisions
from pilotage_server.feedback.shadow import MAX_WAITING, ShadowPost
from support.feedback import Clock, a_collector, an_announcement, an_endpoint, an_identity, post, samples

STABLE, CANARY = "pets-0a1b2c3d4e", "pets-canary"
P = np.array([[0.6, 0.3, 0.1]])


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def collector(tmp_path, clock):
    async with a_collector(tmp_path, clock) as running:
        await running.writer.submit(an_announcement())
        yield running


def a_post(collector, clock):
    identity = an_identity(revision=CANARY)
    return ShadowPost(identity, CollectorLink(collector.address, collector.ring, clock=clock))


async def pairs(collector):
    return {
        dict(labels)["outcome"]: value
        for (name, labels), value in samples((await collector.get("/metrics"))[1]).items()
        if name == "pilotage_matured_pairs_total" and dict(labels)["canary"] == CANARY
    }


def sent(shadow):
    return {sample.labels["result"]: sample.value for family in shadow.collect() for sample in family.samples}


async def test_each_label_of_a_mirrored_request_counts_one_pair(collector, clock):
    shadow = a_post(collector, clock)
    canary = Issuer(
        TokenSigner(collector.ring, an_identity(revision=CANARY)), None, shadow=Shadow.CANARY, post=shadow, clock=clock
    )
    stable = Issuer(TokenSigner(collector.ring, an_identity()), None, shadow=Shadow.STABLE, clock=clock)
    # What stable and the canary answer, and the truth: one request for each of the four outcomes, one not mirrored.
    story = [(0, 0, "cat"), (1, 0, "cat"), (0, 1, "cat"), (1, 1, "cat"), (0, None, "cat")]
    items = []
    for number, (by_stable, by_canary, truth) in enumerate(story):
        inputs, asked = np.full((1, 2), float(number)), Asked(f"request-{number}")
        token = stable.issue(inputs, np.array([by_stable]), P, asked)["feedback_token"]
        items.append({"token": token, "row": 0, "label": truth})
        if by_canary is not None:
            assert canary.issue(inputs, np.array([by_canary]), P, asked) == {}

    await shadow.flush()
    assert await pairs(collector) == {"n11": 0, "n10": 0, "n01": 0, "n00": 0}
    async with an_endpoint(an_identity(), collector.ring, collector.address, clock) as endpoint:
        await post(endpoint, *items)
        await post(endpoint, *items)  # at least once
    clock.advance(60)
    await collector.matured()

    assert await pairs(collector) == {"n11": 1, "n10": 1, "n01": 1, "n00": 1}
    assert sent(shadow) == {"sent": 4, "dropped": 0}
    quality = await collector.quality()
    assert {pair["outcome"]: pair["requests"] for pair in quality["pairs"] if pair["stable"] == STABLE} == {
        "n11": 1, "n10": 1, "n01": 1, "n00": 1
    }  # fmt: skip
    assert quality["revisions"][STABLE]["maturedLabels"] == 5
    assert quality["revisions"][CANARY]["maturedLabels"] == 0
    shadow._link.close()


async def test_the_row_that_entered_the_gate_is_the_one_that_is_paired(collector, clock):
    shadow = a_post(collector, clock)
    rows, p = np.arange(6.0).reshape(3, 2), np.repeat(P, 3, axis=0)
    stable = Issuer(TokenSigner(collector.ring, an_identity()), None, shadow=Shadow.STABLE, clock=clock)
    canary = Issuer(
        TokenSigner(collector.ring, an_identity(revision=CANARY)), None, shadow=Shadow.CANARY, post=shadow, clock=clock
    )
    token = stable.issue(rows, np.array([0, 0, 0]), p, Asked("r"))["feedback_token"]
    canary.issue(rows, np.array([0, 0, 0]), p, Asked("r"))
    await shadow.flush()

    async with an_endpoint(an_identity(), collector.ring, collector.address, clock) as endpoint:
        await post(endpoint, *[{"token": token, "row": row, "label": "cat"} for row in range(3)])
    clock.advance(60)
    await collector.matured()

    assert await pairs(collector) == {"n11": 1, "n10": 0, "n01": 0, "n00": 0}
    shadow._link.close()


async def test_a_shadow_that_cannot_reach_the_collector_drops_and_counts(tmp_path, clock):
    async with a_collector(tmp_path, clock) as collector:
        shadow = a_post(collector, clock)
    shadow.add(b"r" * 8, b"\0", clock.now)

    await shadow.flush()

    assert sent(shadow) == {"sent": 0, "dropped": 1}


async def test_a_shadow_never_hoards(collector, clock):
    shadow = a_post(collector, clock)
    for number in range(MAX_WAITING + 5):
        shadow.add(number.to_bytes(8, "big"), b"\0", clock.now)
    assert sent(shadow) == {"sent": 0, "dropped": 5}

    running = asyncio.create_task(shadow.run())
    async with asyncio.timeout(20):
        while sent(shadow)["sent"] < MAX_WAITING:  # noqa: ASYNC110 the collector counts
            await asyncio.sleep(0.02)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


def test_decisions_are_forgotten_once_their_labels_must_have_matured(tmp_path):
    now, delay, grace = 1_800_000_000_000, 60_000, 3_600_000
    ledger = Ledger(tmp_path / "ledger", now_ms=now, delay_ms=delay)
    decision = Decision("0" * 16, now, "00")
    ledger.apply([an_announcement(revision=CANARY)], now_ms=now, delay_ms=delay)
    ledger.apply([Decisions(model="pets", sender=CANARY, decisions=(decision,))], now_ms=now, delay_ms=delay)

    def kept():
        return ledger._database.execute("SELECT count(*) FROM decision").fetchone()[0]

    ledger.prune(now_ms=now + delay + grace)
    assert kept() == 1
    ledger.prune(now_ms=now + delay + grace + 1)
    assert kept() == 0
    ledger.close()
