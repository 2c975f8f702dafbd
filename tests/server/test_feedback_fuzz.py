"""Whatever is sent: feedback answers 200, 400 or 413, the collector never stops, and nothing invented is counted."""

import asyncio
import contextlib
import struct
from pathlib import Path

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pilotage_server.feedback import FeedbackEndpoint, Forwarder, KeyRing, Result, TokenSigner, Unreadable, open_token
from pilotage_server.feedback.announcing import read_announcement
from pilotage_server.feedback.collector.ledger import Ledger
from pilotage_server.feedback.items import Judge, Place
from pilotage_server.feedback.token import Forged, Token, as_text
from pilotage_server.feedback.wire import Incomprehensible, read_decisions, read_delivery, read_relayed, read_results
from support.feedback import REVISION, START_S, an_announcement, an_identity, key_dir

NOW = int(START_S * 1000)
DELAY = 60_000
FAST = settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Desk(Forwarder):
    """Stands where the collector would."""

    def __init__(self):
        pass

    async def submit(self, items):
        return [Result.ACCEPTED for _ in items]


@pytest.fixture(scope="module")
def ring(tmp_path_factory):
    return KeyRing(key_dir(tmp_path_factory.mktemp("keys") / "keys"))


@pytest.fixture(scope="module")
def token(ring):
    return TokenSigner(ring, an_identity()).sign([0, 1], None, START_S)


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger(Path(tmp_path) / "ledger", now_ms=NOW, delay_ms=DELAY)
    ledger.apply([an_announcement()], now_ms=NOW, delay_ms=DELAY)
    yield ledger
    ledger.close()


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=40)
    | st.sampled_from(["cat", "dog", REVISION, "0" * 16, "f" * 16, "00", "G" * 16, "pets"])
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=12) | st.dictionaries(st.text(max_size=8), inner))
posted = st.fixed_dictionaries(
    {}, optional={"token": scalars | st.just("TOKEN"), "row": scalars | st.integers(0, 2), "label": scalars}
)


@FAST
@given(body=st.binary(max_size=300) | values.map(orjson.dumps))
def test_no_body_is_answered_with_a_fault_of_ours(body, ring):
    endpoint = FeedbackEndpoint(an_identity(), ring, Desk())

    status, _, answer = asyncio.run(endpoint.handle(body))

    assert status in (200, 400, 413)
    assert isinstance(orjson.loads(answer), dict)


@FAST
@given(items=st.lists(posted | values, max_size=8))
def test_every_item_gets_its_own_answer_whatever_its_neighbours(items, ring, token):
    good = {"token": token, "row": 0, "label": "cat"}
    written = [
        {**item, "token": token} if isinstance(item, dict) and item.get("token") == "TOKEN" else item for item in items
    ]
    endpoint = FeedbackEndpoint(an_identity(), ring, Desk())

    status, _, answer = asyncio.run(endpoint.handle(orjson.dumps({"feedback": [*written, good]})))

    results = orjson.loads(answer)["results"]
    assert status == 200
    assert len(results) == len(items) + 1
    assert results[-1] == {"result": "accepted"}
    assert {result["result"] for result in results} <= {result.value for result in Result}


@FAST
@given(header=st.binary(max_size=60), tail=st.binary(max_size=200))
def test_a_token_signed_over_rubbish_is_unreadable_and_no_error(header, tail, ring):
    """Only a holder of the key could send it; not even that one stops a pod."""
    for message in (
        header + tail,
        bytes([2, 1]) + header + tail,
        struct.pack(">BBQ8sBH", 2, 1, NOW, b"n" * 8, header[0] if header else 0, len(tail)) + b"\x04pets\x03aws" + tail,
    ):
        text = as_text(message + ring.signing.mac(message)[:16])
        try:
            found = open_token(text, ring)
        except Unreadable:
            continue
        assert isinstance(found, Token | Forged)
        for row in range(min(found.rows, 4) if isinstance(found, Token) else 0):
            item = {"token": text, "row": row, "label": "cat"}
            Judge(ring, an_identity()).judge([item])
            Judge(ring, Place(cluster="aws")).judge([item])


rows = st.lists(
    st.tuples(
        st.sampled_from([REVISION, "other"]) | scalars,
        st.integers(NOW - 2 * DELAY, NOW + 2 * DELAY) | scalars,
        st.sampled_from(["0" * 16, "1" * 16, "f" * 16]) | scalars,
        st.integers(0, 3) | scalars,
        st.integers(0, 3) | scalars,
        st.integers(0, 4) | scalars,
        st.sampled_from(["cat", "dog"]) | scalars,
        st.integers(0, 1) | scalars,
        st.binary(max_size=5).map(bytes.hex) | scalars,
        st.sampled_from(["", "0" * 16, "f" * 16]) | scalars,
        st.sampled_from(["", "00", "0102"]) | scalars,
    ).map(list)
    | st.lists(scalars, max_size=12),
    max_size=6,
)


@FAST
@given(items=rows, decisions=st.lists(st.lists(scalars | st.sampled_from(["f" * 16, "00"]), max_size=4), max_size=4))
def test_no_message_stops_the_ledger_and_it_counts_what_it_accepted(items, decisions, ledger):
    """Whoever holds a key may be another version of the server, or worse; the next message must still be counted."""
    now = ledger.snapshot.counted_until_ms + 1
    accepted = 0
    for read, message in (
        (read_delivery, {"items": items}),
        (read_decisions, {"decisions": decisions}),
    ):
        try:
            work = read(orjson.dumps({"model": "pets", "sender": REVISION, **message}))
        except Incomprehensible:
            continue
        (outcome,) = ledger.apply([work], now_ms=max(now, NOW), delay_ms=DELAY, keeps_scores=True)
        accepted += sum(result is Result.ACCEPTED for result in getattr(outcome, "results", ()))
    ledger.apply([], now_ms=ledger.snapshot.counted_until_ms + 10 * DELAY, delay_ms=DELAY, keeps_scores=True)

    (counts,) = ledger.snapshot.revisions
    assert counts.counted_rows == counts.stored
    assert counts.counted_rows <= counts.results[Result.ACCEPTED]


@FAST
@given(message=values | st.dictionaries(st.sampled_from(["classes", "slices", "costs", "model", "revision"]), values))
def test_what_cannot_be_read_is_said_to_be_incomprehensible(message):
    body = orjson.dumps(message)
    readers = (
        *(read_announcement, read_delivery, read_decisions),
        *(lambda one: read_results(one, 1), lambda one: read_relayed(one, 1)),
    )
    for read in readers:
        with contextlib.suppress(Incomprehensible):
            read(body)


@pytest.mark.parametrize("at_ms", [-1, 2**53, 18_000_000_000_044_444_440, 1.5, True, None])
def test_a_time_no_clock_tells_is_incomprehensible(at_ms):
    decisions = [["0" * 16, at_ms, "00"]]

    with pytest.raises(Incomprehensible):
        read_decisions(orjson.dumps({"model": "pets", "sender": REVISION, "decisions": decisions}))


@pytest.mark.parametrize("answer", [5, None, "accepted", ["result"], {"result": []}, {"result": {}}, {"result": "no"}])
def test_an_answer_of_another_cluster_that_is_none_is_incomprehensible(answer):
    with pytest.raises(Incomprehensible):
        read_relayed(orjson.dumps({"results": [answer]}), 1)
