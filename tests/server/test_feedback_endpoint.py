"""What a person who posts labels is told, item by item; with a real collector behind the endpoint."""

import contextlib

import orjson
import pytest

from pilotage_server.feedback import KeyRing, TokenSigner
from pilotage_server.feedback.items import MAX_BODY_BYTES, MAX_ITEMS
from pilotage_server.feedback.token import Token, chosen_row, open_token
from support.feedback import Clock, a_collector, an_endpoint, an_identity, eventually, key_dir, post, samples, total


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def collector(tmp_path, clock):
    async with a_collector(tmp_path, clock) as running:
        yield running


@pytest.fixture
async def endpoint(collector, clock):
    async with an_endpoint(an_identity(), collector.ring, collector.address, clock) as open_endpoint:
        yield open_endpoint


@pytest.fixture
def signer(collector):
    return TokenSigner(collector.ring, an_identity())


def label(token, row=0, label="cat"):
    return {"token": token, "row": row, "label": label}


async def test_a_label_of_this_cluster_is_accepted_and_counts_at_maturity(endpoint, collector, signer, clock):
    token = signer.sign([0, 1], None, clock.now)

    assert await post(endpoint, label(token, 0, "cat"), label(token, 1, "eel")) == [{"result": "accepted"}] * 2
    clock.advance(60)
    await collector.matured()

    quality = (await collector.quality())["revisions"]["pets-0a1b2c3d4e"]
    assert quality["confusion"]["cat"] == {"cat": 1, "dog": 0, "eel": 0}
    assert quality["confusion"]["eel"] == {"cat": 0, "dog": 1, "eel": 0}
    assert (quality["countedRows"], quality["maturedLabels"], quality["pendingRows"]) == (2, 1, 0)
    opened = open_token(token, collector.ring)
    assert isinstance(opened, Token)
    chosen = chosen_row(opened.nonce, 2)
    assert quality["matured"][("cat", "eel")[chosen]][("cat", "dog")[chosen]] == 1


async def test_every_item_gets_its_own_answer_in_its_own_place(endpoint, signer, clock, tmp_path):
    stranger = KeyRing(key_dir(tmp_path / "other", k1=b"2" * 32))
    here = signer.sign([0], None, clock.now)
    elsewhere = TokenSigner(stranger, an_identity(cluster="gcp")).sign([0], None, clock.now)
    forged = TokenSigner(stranger, an_identity()).sign([0], None, clock.now)
    unheard = TokenSigner(signer._ring, an_identity(revision="pets-unheard")).sign([0], None, clock.now)
    early = signer.sign([0], None, clock.now - 1)
    ahead = signer.sign([0], None, clock.now + 61)

    answers = await post(
        endpoint,
        label(here),
        label(elsewhere),
        label(forged),
        label(here, label="cow"),
        label(here, row=1),
        "not an object",
        label(unheard),
        label(early),
        label(ahead),
        label(here),
    )

    assert [answer["result"] for answer in answers] == [
        "accepted",
        "wrong_cluster",
        "bad_signature",
        "unknown_label",
        "malformed",
        "malformed",
        "unknown_revision",
        "history_lost",
        "clock_skew",
        "duplicate",
    ]
    assert answers[1]["cluster"] == "gcp"
    assert "post it there" in answers[1]["reason"]
    assert answers[4]["reason"] == "row: must be a whole number from 0 to 0"
    assert all("reason" in answer for answer in answers[1:-1])


async def test_a_proven_token_of_another_cluster_is_sent_there_too(endpoint, collector, clock):
    # Clusters may share a key; the answer is the same.
    token = TokenSigner(collector.ring, an_identity(cluster="azure")).sign([0], None, clock.now)

    (answer,) = await post(endpoint, label(token))

    assert (answer["result"], answer["cluster"]) == ("wrong_cluster", "azure")


async def test_late_and_corrected_labels_are_told_apart(endpoint, collector, signer, clock):
    first, second = signer.sign([0], None, clock.now), signer.sign([0], None, clock.now)
    await post(endpoint, label(first))
    clock.advance(60)

    answers = await post(endpoint, label(first, label="dog"), label(second), label(first, label="dog"))

    assert [answer["result"] for answer in answers] == ["corrected", "late", "duplicate"]
    assert "labelDelay" in answers[1]["reason"]
    read = samples((await collector.get("/metrics"))[1])
    for result in ("late", "corrected", "duplicate", "accepted"):
        assert total(read, "model_feedback_total", revision="pets-0a1b2c3d4e", result=result) == 1


async def test_a_label_for_another_revision_of_the_model_is_counted_for_that_one(endpoint, collector, clock):
    canary = an_identity(revision="pets-canary", classes=("dog", "cat"))
    async with an_endpoint(canary, collector.ring, collector.address, clock) as canarys:
        await post(canarys, label(TokenSigner(collector.ring, canary).sign([0], None, clock.now), label="cat"))
    token = TokenSigner(collector.ring, canary).sign([1], None, clock.now)

    answers = await post(endpoint, label(token, label="dog"), label(token, label="eel"))

    assert [answer["result"] for answer in answers] == ["accepted", "unknown_label"]
    clock.advance(60)
    await collector.matured()
    confusion = (await collector.quality())["revisions"]["pets-canary"]["confusion"]
    assert confusion == {"dog": {"dog": 0, "cat": 1}, "cat": {"dog": 1, "cat": 0}}


async def test_classes_that_are_numbers_may_be_posted_as_numbers(collector, clock):
    digits = an_identity(revision="pets-digits", classes=tuple("0123456789"))
    async with an_endpoint(digits, collector.ring, collector.address, clock) as endpoint:
        token = TokenSigner(collector.ring, digits).sign([7, 7], None, clock.now)

        answers = await post(endpoint, label(token, 0, 7), label(token, 1, "7"))

    assert answers == [{"result": "accepted"}] * 2


@pytest.mark.parametrize(
    ("item", "says"),
    [
        (None, "item: must be an object"),
        ([], "item: must be an object"),
        ({}, "token: must be the string parameters.feedback_token"),
        ({"token": 5, "row": 0, "label": "cat"}, "token: must be the string"),
        ({"token": "", "row": 0, "label": "cat"}, "token: token cut short"),
        ({"token": "ü", "row": 0, "label": "cat"}, "token: not base64url"),
        ({"token": "x" * 99_999, "row": 0, "label": "cat"}, "token: "),
        ({"row": "0"}, "row: must be a whole number from 0 to 1"),
        ({"row": True}, "row: must be"),
        ({"row": -1}, "row: must be"),
        ({"row": 2}, "row: must be"),
        ({"row": None}, "row: must be"),
        ({"row": 1e300}, "row: must be"),
        ({"label": None}, "label: must be the name of a class"),
        ({"label": True}, "label: must be"),
        ({"label": 1.5}, "label: must be"),
        ({"label": ["cat"]}, "label: must be"),
        ({"label": "x" * 129}, "label: must be"),
    ],
    ids=str,
)
async def test_a_malformed_item_says_where_and_spoils_no_neighbour(endpoint, signer, clock, item, says):
    good = label(signer.sign([0, 0], None, clock.now))
    if isinstance(item, dict) and item and "token" not in item:
        item = good | item

    answers = await post(endpoint, item, good)

    assert answers[0]["result"] == "malformed"
    assert says in answers[0]["reason"]
    assert answers[1] == {"result": "accepted"}


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"", 400, "not JSON"),
        (b"\xff", 400, "not JSON"),
        (b"[" * 100_000, 400, "not JSON"),
        (b"[]", 400, 'write {"feedback"'),
        (b'{"feedback": {}}', 400, 'write {"feedback"'),
        (
            orjson.dumps({"feedback": [None] * (MAX_ITEMS + 1)}),
            413,
            "1001 items; a feedback request holds at most 1000",
        ),
        (b" " * (MAX_BODY_BYTES + 1), 413, "1000001 bytes; a feedback request holds at most 1000000"),
    ],
    ids=range(7),
)
async def test_a_body_that_is_no_feedback_request_is_refused_whole(endpoint, body, status, says):
    got, headers, answer = await endpoint.handle(body)

    assert got == status
    assert dict(headers)[b"content-type"] == b"application/json"
    assert says in orjson.loads(answer)["error"]


async def test_the_largest_request_is_answered_item_by_item(endpoint, collector, signer, clock):
    tokens = [signer.sign([n % 3], None, clock.now) for n in range(MAX_ITEMS)]

    answers = await post(endpoint, *[label(token) for token in tokens])

    assert answers == [{"result": "accepted"}] * MAX_ITEMS


async def test_nothing_to_do_is_not_an_error(endpoint):
    assert await post(endpoint) == []


async def test_without_a_collector_nothing_is_accepted_and_the_client_is_told_when_to_come_again(tmp_path, clock):
    ring = KeyRing(key_dir(tmp_path / "keys"))
    token = TokenSigner(ring, an_identity()).sign([0], None, clock.now)
    async with contextlib.AsyncExitStack() as stack:
        async with a_collector(tmp_path, clock) as gone:
            address = gone.address
        endpoint = await stack.enter_async_context(an_endpoint(an_identity(), ring, address, clock))

        status, headers, body = await endpoint.handle(orjson.dumps({"feedback": [label(token), {}]}))

    assert status == 503
    assert dict(headers)[b"retry-after"] == b"1"
    assert "post the same request again" in orjson.loads(body)["error"]


async def test_items_the_pod_can_judge_alone_need_no_collector(tmp_path, clock):
    ring = KeyRing(key_dir(tmp_path / "keys"))
    async with a_collector(tmp_path, clock) as gone:
        address = gone.address
    async with an_endpoint(an_identity(), ring, address, clock) as endpoint:
        assert [answer["result"] for answer in await post(endpoint, {}, None)] == ["malformed"] * 2


async def test_what_was_stored_before_a_lost_answer_comes_back_as_duplicate(endpoint, collector, signer, clock):
    request = label(signer.sign([0], None, clock.now))

    assert await post(endpoint, request) == [{"result": "accepted"}]
    assert await post(endpoint, request) == [{"result": "duplicate"}]
    clock.advance(60)
    await collector.matured()
    assert (await collector.quality())["revisions"]["pets-0a1b2c3d4e"]["countedRows"] == 1


async def test_pod_and_collector_together_count_every_item_once(endpoint, collector, signer, clock):
    token = signer.sign([0], None, clock.now)
    await post(endpoint, label(token), label(token), {}, label(token, label="cow"), label("A" * 80))

    refused = {}
    for family in endpoint.tally.collect():
        for sample in family.samples:
            if sample.name == "model_feedback_total":
                refused[sample.labels["revision"], sample.labels["result"]] = sample.value
    read = samples((await collector.get("/metrics"))[1])

    assert {key for key, value in refused.items() if value} == {
        ("other", "malformed"),
        ("pets-0a1b2c3d4e", "unknown_label"),
    }
    assert sum(refused.values()) + total(read, "model_feedback_total") == 5


async def test_labels_come_back_once_the_collector_is_there_again(tmp_path, clock):
    ring = KeyRing(key_dir(tmp_path / "keys"))
    signer = TokenSigner(ring, an_identity())
    async with a_collector(tmp_path, clock) as first:
        port = first.port
    async with an_endpoint(an_identity(), ring, first.address, clock) as endpoint:
        request = orjson.dumps({"feedback": [label(signer.sign([0], None, clock.now))]})
        assert (await endpoint.handle(request))[0] == 503

        async with a_collector(tmp_path, clock, port=port) as again:
            assert (await endpoint.handle(request))[0] == 200
            clock.advance(60)
            await again.matured()
            await eventually(lambda: again.writer.snapshot.revisions[0].counted_rows == 1)


async def test_a_collector_that_lost_its_volume_learns_the_revision_again_and_refuses_the_past(tmp_path, clock):
    ring = KeyRing(key_dir(tmp_path / "keys"))
    signer = TokenSigner(ring, an_identity())
    before = signer.sign([0], None, clock.now)
    async with a_collector(tmp_path, clock) as first:
        port, ledger = first.port, first.writer.snapshot.ledger
        async with an_endpoint(an_identity(), ring, first.address, clock) as endpoint:
            assert await post(endpoint, label(before)) == [{"result": "accepted"}]
    for file in tmp_path.glob("ledger.sqlite3*"):
        file.unlink()
    clock.advance(5)

    async with (
        a_collector(tmp_path, clock, port=port) as second,
        an_endpoint(an_identity(), ring, second.address, clock) as endpoint,
    ):
        answers = await post(endpoint, label(before), label(signer.sign([0], None, clock.now)))
        assert second.writer.snapshot.ledger != ledger

    assert [answer["result"] for answer in answers] == ["history_lost", "accepted"]
