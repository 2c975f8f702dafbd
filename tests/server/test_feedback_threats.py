"""The threats of the feedback chain, one test each; those with files of their own are named here.

Forged or altered tokens: test_token_signing (every bit). Lying labellers: test_feedback_posters. Replay and retries,
old labels: test_collector_ledger, test_collector_history. Labels without a table name: test_feedback_endpoint.
"""

import aiohttp
import numpy as np
import orjson
import pytest

from pilotage_server.feedback import Issuer, KeyRing, TokenSigner
from pilotage_server.feedback.collector.ledger import MAX_AGE_MS
from pilotage_server.feedback.keys import SETTLING_S
from support.feedback import (
    Clock,
    MonotonicClock,
    a_collector,
    an_announcement,
    an_endpoint,
    an_identity,
    key_dir,
    opened,
    post,
    samples,
)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def collector(tmp_path, clock):
    async with a_collector(tmp_path, clock) as running:
        await running.writer.submit(an_announcement())
        yield running


def label(token, value="cat", row=0):
    return {"token": token, "row": row, "label": value}


async def test_a_leaked_key_is_exchanged_without_losing_a_label(collector, clock, tmp_path):
    """k1 leaks: k2 comes beside it, signs once all know it, and k1 goes when its last tokens have their labels."""
    folder, monotonic = tmp_path / "keys", MonotonicClock()
    pods = KeyRing(folder, monotonic=monotonic)
    signer = TokenSigner(pods, an_identity())
    under_k1 = [signer.sign([0], None, clock.now) for _ in range(3)]

    async with an_endpoint(an_identity(), pods, collector.address, clock) as endpoint:
        key_dir(folder, k2=b"2" * 32)
        pods.refresh()
        assert (await post(endpoint, label(under_k1[0])))[0]["result"] == "accepted"
        collector.ring.refresh()
        monotonic.now = SETTLING_S
        pods.refresh()
        under_k2 = signer.sign([0], None, clock.now)
        answers = await post(endpoint, label(under_k1[1]), label(under_k2))
        assert [answer["result"] for answer in answers] == ["accepted", "accepted"]

        (folder / "k1").unlink()
        pods.refresh()
        collector.ring.refresh()
        stolen = TokenSigner(KeyRing(key_dir(tmp_path / "thief", k1=b"1" * 32)), an_identity())
        answers = await post(endpoint, label(under_k1[2]), label(stolen.sign([1], None, clock.now)), label(under_k2))
        assert [answer["result"] for answer in answers] == ["bad_signature", "bad_signature", "duplicate"]
    clock.advance(60)
    await collector.matured()
    assert (await collector.quality())["revisions"]["pets-0a1b2c3d4e"]["countedRows"] == 3


async def test_a_replayed_label_counts_once_however_often_and_wherever_it_comes(collector, clock):
    token = TokenSigner(collector.ring, an_identity()).sign([0], None, clock.now)
    async with (
        an_endpoint(an_identity(), collector.ring, collector.address, clock) as one,
        an_endpoint(an_identity(revision="pets-canary"), collector.ring, collector.address, clock) as other,
    ):
        await collector.writer.submit(an_announcement(revision="pets-canary"))
        results = [(await post(endpoint, label(token)))[0]["result"] for endpoint in (one, other, one, other)]
    clock.advance(60)
    await collector.matured()

    assert results == ["accepted", "duplicate", "duplicate", "duplicate"]
    assert (await collector.quality())["revisions"]["pets-0a1b2c3d4e"]["countedRows"] == 1


async def test_a_token_older_than_thirty_days_is_expired(collector, clock):
    token = TokenSigner(collector.ring, an_identity()).sign([0], None, clock.now)
    clock.advance(MAX_AGE_MS / 1000 + 1)
    await collector.matured()

    async with an_endpoint(an_identity(), collector.ring, collector.address, clock) as endpoint:
        assert (await post(endpoint, label(token)))[0]["result"] == "expired"


async def test_another_models_token_is_credited_to_nobody(collector, clock):
    """Models of one namespace share keys: what tells them apart is that no pod announced the revision here."""
    foreign = an_identity(model="dogs", revision="dogs-0a1b2c3d4e")
    token = TokenSigner(collector.ring, foreign).sign([0], None, clock.now)

    async with an_endpoint(an_identity(), collector.ring, collector.address, clock) as endpoint:
        assert (await post(endpoint, label(token)))[0]["result"] == "unknown_revision"


async def test_labels_invented_by_clients_make_no_series(collector, clock):
    signer = TokenSigner(collector.ring, an_identity())
    async with an_endpoint(an_identity(), collector.ring, collector.address, clock) as endpoint:
        before = {series for series, _ in samples((await collector.get("/metrics"))[1]).items()}
        told = [await post(endpoint, label(signer.sign([0], None, clock.now), f"label-{n}")) for n in range(50)]
        after = {series for series, _ in samples((await collector.get("/metrics"))[1]).items()}

    assert {answer["result"] for (answer,) in told} == {"unknown_label"}
    assert before == after


async def test_a_token_tells_nobody_what_was_asked(collector):
    """No feature value stands in a token: equal predictions of different rows differ in the nonce alone."""
    ring = collector.ring
    issuer = Issuer(TokenSigner(ring, an_identity()), None)
    p = np.array([[0.0, 1.0, 0.0]])
    secret, other = np.array([[1234.5, 6.75]]), np.array([[0.0, 0.0]])

    tokens = [opened(issuer.issue(rows, np.array([1]), p)["feedback_token"], ring) for rows in (secret, other)]

    first, second = tokens
    assert (first.predicted, first.probabilities, first.slices, first.request) == (
        second.predicted,
        second.probabilities,
        b"",
        b"",
    )


async def test_messages_to_the_collector_need_the_key(collector):
    body = orjson.dumps({"model": "pets", "sender": "pets-0a1b2c3d4e", "items": [], "decisions": []})
    for path in ("/v1/labels", "/v1/decisions", "/v1/revisions", "/v1/quality"):
        url = f"http://127.0.0.1:{collector.port}{path}"
        async with aiohttp.ClientSession() as session, session.post(url, data=body) as response:
            assert response.status == 401
