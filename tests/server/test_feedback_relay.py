"""Labels posted to the wrong cluster: handed on where the collector is known and the jurisdictions allow."""

import asyncio
import contextlib

import aiohttp
import orjson
import pytest

from pilotage_server.feedback import (
    CollectorLink,
    FeedbackEndpoint,
    FeedbackRefused,
    FeedbackSettings,
    Forwarder,
    KeyRing,
    QualityPage,
    TokenSigner,
)
from pilotage_server.feedback.credentials import Credentials
from pilotage_server.feedback.peers import Peer, read_peers
from pilotage_server.feedback.registration import refresh_or_keep
from pilotage_server.feedback.relay import LEFT_ALONE_S, Relay
from support.feedback import (
    Clock,
    MonotonicClock,
    a_collector,
    a_delivery,
    an_announcement,
    an_identity,
    an_item,
    eventually,
    key_dir,
    post,
    samples,
    total,
)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def monotonic():
    return MonotonicClock()


@pytest.fixture
async def gcp(tmp_path, clock):
    """The collector of another cluster, with keys of its own."""
    folder = tmp_path / "gcp"
    key_dir(folder / "keys", k1=b"g" * 32)
    async with a_collector(folder, clock, cluster="gcp") as collector:
        await collector.writer.submit(an_announcement())
        yield collector


@pytest.fixture
async def aws(tmp_path, clock):
    folder = tmp_path / "aws"
    key_dir(folder / "keys", k1=b"a" * 32)
    async with a_collector(folder, clock, cluster="aws") as collector:
        await collector.writer.submit(an_announcement())
        yield collector


@contextlib.asynccontextmanager
async def a_pod(aws, clock, peers, monotonic):
    """A pod in aws that knows these peers."""
    identity = an_identity(cluster="aws")
    forwarder = Forwarder(identity, CollectorLink(aws.address, aws.ring, clock=clock))
    relay = Relay("pets", lambda: peers, monotonic=monotonic)
    running = asyncio.create_task(forwarder.run())
    try:
        yield FeedbackEndpoint(identity, aws.ring, forwarder, relay=relay), relay
    finally:
        relay.close()
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


def peer(port, *, cluster="gcp", credential=""):
    return {cluster: Peer(cluster=cluster, host="127.0.0.1", port=port, credential=credential)}


def label(ring, clock, *, cluster="gcp", value="cat"):
    token = TokenSigner(ring, an_identity(cluster=cluster)).sign([0], None, clock.now)
    return {"token": token, "row": 0, "label": value}


def relayed(relay):
    return {
        sample.labels["result"]: sample.value
        for family in relay.collect()
        for sample in family.samples
        if sample.labels["cluster"] == "gcp"
    }


async def test_a_label_reaches_the_cluster_that_predicted_and_no_other(aws, gcp, clock, monotonic):
    async with a_pod(aws, clock, peer(gcp.port), monotonic) as (endpoint, relay):
        here, there = label(aws.ring, clock, cluster="aws"), label(gcp.ring, clock)

        answers = await post(endpoint, here, there, there, label(gcp.ring, clock, value="cow"), {})

        told = [answer["result"] for answer in answers]
        assert told == ["accepted", "accepted", "duplicate", "unknown_label", "malformed"]
        assert relayed(relay) == {"answered": 3, "failed": 0}
    clock.advance(60)
    for collector in (aws, gcp):
        await collector.matured()
        assert (await collector.quality())["revisions"]["pets-0a1b2c3d4e"]["countedRows"] == 1


async def test_a_token_the_issuing_cluster_never_signed_is_refused_there(aws, gcp, clock, monotonic, tmp_path):
    stranger = KeyRing(key_dir(tmp_path / "stranger", k1=b"x" * 32))
    async with a_pod(aws, clock, peer(gcp.port), monotonic) as (endpoint, _):
        (answer,) = await post(endpoint, label(stranger, clock))

    assert answer["result"] == "bad_signature"
    assert (await gcp.quality())["revisions"]["pets-0a1b2c3d4e"]["pendingRows"] == 0


async def test_nothing_is_handed_on_twice(aws, gcp, clock, monotonic):
    """A peer that is asked about a third cluster's token says so instead of asking further."""
    async with a_pod(aws, clock, peer(gcp.port, cluster="azure"), monotonic) as (endpoint, _):
        (answer,) = await post(endpoint, label(gcp.ring, clock, cluster="azure"))

    assert (answer["result"], answer["cluster"]) == ("wrong_cluster", "azure")


async def test_an_unknown_cluster_is_named_and_left_to_the_client(aws, gcp, clock, monotonic):
    async with a_pod(aws, clock, {}, monotonic) as (endpoint, _):
        (answer,) = await post(endpoint, label(gcp.ring, clock))

    assert (answer["result"], answer["cluster"]) == ("wrong_cluster", "gcp")


async def test_a_peer_that_is_down_costs_its_labels_an_answer_and_others_nothing(aws, gcp, clock, monotonic):
    async with a_pod(aws, clock, peer(9), monotonic) as (endpoint, relay):
        answers = await post(endpoint, label(gcp.ring, clock), label(aws.ring, clock, cluster="aws"))
        again = await post(endpoint, label(gcp.ring, clock))

        assert [answer["result"] for answer in answers] == ["wrong_cluster", "accepted"]
        assert "it could not be handed on" in answers[0]["reason"]
        assert again[0]["reason"] == answers[0]["reason"]
        assert relayed(relay) == {"answered": 0, "failed": 1}  # the second was not even tried
        monotonic.now += LEFT_ALONE_S
        await post(endpoint, label(gcp.ring, clock))
        assert relayed(relay)["failed"] == 2


async def test_a_collector_with_credentials_takes_relayed_labels_only_with_one(aws, gcp, clock, monotonic, tmp_path):
    gcp.service._credentials = Credentials(key_dir(tmp_path / "credentials", aws=b"s" * 32))
    async with a_pod(aws, clock, peer(gcp.port), monotonic) as (endpoint, _):
        assert (await post(endpoint, label(gcp.ring, clock)))[0]["result"] == "wrong_cluster"
    async with a_pod(aws, clock, peer(gcp.port, credential="s" * 32), monotonic) as (endpoint, _):
        assert (await post(endpoint, label(gcp.ring, clock)))[0]["result"] == "accepted"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b'{"model":"pets"}', 400),
        (b'{"model":"dogs","feedback":[]}', 400),
        (orjson.dumps({"model": "pets", "feedback": [{}] * 1_001}), 413),
        (b'{"model":"pets","feedback":[1,null,{}]}', 200),
    ],
)
async def test_what_is_no_relayed_request_is_refused_as_a_whole(gcp, body, status):
    url = f"http://127.0.0.1:{gcp.port}/v1/relay"
    async with aiohttp.ClientSession() as session, session.post(url, data=body) as response:
        assert response.status == status


@pytest.mark.parametrize(
    ("own", "theirs", "allowed"),
    [
        ([], [], True),
        (["eu"], ["EU", "ie"], True),
        (["eu"], ["us"], False),
        (["eu"], [], False),
        ([], ["eu"], False),
    ],
)
def test_labels_go_only_where_the_jurisdictions_share_one(tmp_path, own, theirs, allowed):
    path = tmp_path / "peers.json"
    document = {"jurisdictions": own, "peers": {"gcp": {"url": "http://10.0.0.1:8090", "jurisdictions": theirs}}}
    path.write_bytes(orjson.dumps(document))

    assert ("gcp" in read_peers(path)) is allowed


def test_a_peer_brings_port_credential_and_tls(tmp_path):
    (tmp_path / "token").write_text("secret-secret-secret\n")
    path = tmp_path / "peers.json"
    peers = {
        "gcp": {"url": "http://gcp.example", "credentialFile": str(tmp_path / "token")},
        "azure": {"url": "https://azure.example/models/pets/"},
    }
    path.write_bytes(orjson.dumps({"peers": peers}))

    found = read_peers(path)

    gcp, azure = found["gcp"], found["azure"]
    assert (gcp.port, gcp.credential, gcp.is_tls, gcp.path) == (8090, "secret-secret-secret", False, "")
    assert (azure.port, azure.credential, azure.is_tls, azure.path) == (443, "", True, "/models/pets")


def test_peers_may_come_as_json_in_a_variable_and_their_tokens_in_others():
    peers = {"gcp": {"url": "http://gcp.example", "credentialEnv": "GCP_TOKEN"}}
    env = {"PILOTAGE_FEEDBACK_PEERS": orjson.dumps({"peers": peers}).decode(), "GCP_TOKEN": "secret-secret-secret"}

    source = FeedbackSettings.from_env(env).peers

    assert isinstance(source, str)
    assert read_peers(source, env)["gcp"].credential == "secret-secret-secret"
    with pytest.raises(FeedbackRefused, match=r"^PILOTAGE_FEEDBACK_PEERS: peers.gcp.credentialEnv: 'GCP_TOKEN' is not"):
        read_peers(source, {})


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"{", "PILOTAGE_FEEDBACK_PEERS"),
        (b'{"peer": {}}', "did you mean 'peers'"),
        (b'{"peers": {"gcp": {"url": "gcp:8090"}}}', r"peers.gcp.url: 'gcp:8090'; write http"),
        (b'{"peers": {"gcp": {"url": "http://gcp/a b"}}}', r"peers.gcp.url"),
        (b'{"peers": {"gcp": {"url": "http://gcp/?x=1"}}}', r"peers.gcp.url"),
        (b'{"peers": {"gcp": {"url": "http://gcp:port"}}}', r"peers.gcp.url"),
    ],
)
def test_a_file_of_peers_that_cannot_be_used_is_refused_with_the_path(tmp_path, content, says):
    path = tmp_path / "peers.json"
    path.write_bytes(content)

    with pytest.raises(FeedbackRefused, match=says):
        read_peers(path)


async def test_a_peer_whose_token_is_not_there_yet_is_left_out_until_it_is(aws, gcp, clock, monotonic, tmp_path):
    gcp.service._credentials = Credentials(key_dir(tmp_path / "credentials", aws=b"s" * 32))
    path, token = tmp_path / "peers.json", tmp_path / "gcp-token"
    url = f"http://127.0.0.1:{gcp.port}"
    path.write_bytes(orjson.dumps({"peers": {"gcp": {"url": url, "credentialFile": str(token)}}}))
    async with a_pod(aws, clock, {}, monotonic) as (endpoint, relay):
        relay._read = lambda: read_peers(path)

        assert refresh_or_keep(relay, "peers") == ""
        (without,) = await post(endpoint, label(gcp.ring, clock))
        token.write_text("s" * 32)
        assert refresh_or_keep(relay, "peers") == ""
        (with_token,) = await post(endpoint, label(gcp.ring, clock))

        assert (without["result"], with_token["result"]) == ("wrong_cluster", "accepted")
        assert f"it could not be handed on (credentialFile {token}: No such file or directory)" in without["reason"]
        assert relayed(relay) == {"answered": 1, "failed": 0}


async def test_peers_come_and_go_while_a_pod_runs_and_a_broken_file_changes_nothing(
    aws, gcp, clock, monotonic, tmp_path
):
    path = tmp_path / "peers.json"
    async with a_pod(aws, clock, {}, monotonic) as (endpoint, relay):
        relay._read = lambda: read_peers(path)
        path.write_bytes(orjson.dumps({"peers": {"gcp": {"url": f"http://127.0.0.1:{gcp.port}"}}}))
        relay.refresh()
        assert (await post(endpoint, label(gcp.ring, clock)))[0]["result"] == "accepted"

        path.write_bytes(b"{")
        refused = refresh_or_keep(relay, "peers")
        assert refused.startswith("PILOTAGE_FEEDBACK_PEERS")
        assert (await post(endpoint, label(gcp.ring, clock)))[0]["result"] == "accepted"

        path.write_bytes(b'{"peers": {}}')
        relay.refresh()
        assert (await post(endpoint, label(gcp.ring, clock)))[0]["result"] == "wrong_cluster"
        assert relayed(relay) == {"answered": 2, "failed": 0}


async def test_a_peer_that_changes_under_way_loses_no_label(aws, gcp, clock, monotonic):
    peers = peer(gcp.port)
    async with a_pod(aws, clock, peers, monotonic) as (endpoint, relay):
        way = relay._ways["gcp"]
        send = way.send

        async def changed_under_way(model, posted):
            sending = asyncio.create_task(send(model, posted))
            await asyncio.sleep(0)
            peers.update(peer(gcp.port, credential="another-0123456789"))
            relay.refresh()
            return await sending

        way.send = changed_under_way
        answers = await asyncio.gather(*(post(endpoint, label(gcp.ring, clock)) for _ in range(3)))

        assert [answer["result"] for (answer,) in answers] == ["accepted"] * 3
        assert relayed(relay) == {"answered": 3, "failed": 0}


def test_authorities_that_are_none_leave_the_peer_out(tmp_path):
    (tmp_path / "ca.crt").write_text("-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n")
    path = tmp_path / "peers.json"
    path.write_bytes(
        orjson.dumps({"peers": {"gcp": {"url": "https://gcp.example", "caFile": str(tmp_path / "ca.crt")}}})
    )

    relay = Relay("pets", lambda: read_peers(path))

    assert relay.knows("gcp")
    assert "caFile" in relay._ways["gcp"].problem


async def test_any_pod_tells_the_collectors_exact_integers(aws, clock, monotonic):
    page = QualityPage("pets", CollectorLink(aws.address, aws.ring, clock=clock), monotonic=monotonic)

    status, _, body = await page.handle()
    assert status == 200
    assert orjson.loads(body)["revisions"].keys() == {"pets-0a1b2c3d4e"}
    await aws.writer.submit(a_delivery(an_item(issued_ms=int(clock.now * 1000))))
    clock.advance(60)
    await aws.matured()
    assert (await page.handle())[2] == body  # shown for a second
    monotonic.now += 2
    _, _, body = await page.handle()
    assert orjson.loads(body) == await aws.quality()
    page.close()


async def test_a_page_without_a_collector_says_so_and_shows_nothing_old(tmp_path, clock, monotonic):
    async with a_collector(tmp_path, clock) as collector:
        page = QualityPage("pets", CollectorLink(collector.address, collector.ring, clock=clock), monotonic=monotonic)
        assert (await page.handle())[0] == 200
    monotonic.now += 2

    status, headers, _ = await page.handle()

    assert (status, dict(headers)[b"retry-after"]) == (503, b"1")


async def test_a_question_of_another_model_or_nobody_is_refused(aws, clock, monotonic, tmp_path):
    other = QualityPage("dogs", CollectorLink(aws.address, aws.ring, clock=clock), monotonic=monotonic)
    stranger = KeyRing(key_dir(tmp_path / "stranger", k1=b"x" * 32))
    forged = QualityPage("pets", CollectorLink(aws.address, stranger, clock=clock), monotonic=monotonic)

    assert b"counts 'pets'" in (await other.handle())[2]
    assert b"401" in (await forged.handle())[2]
    other.close()
    forged.close()


async def test_relayed_labels_are_in_the_collectors_numbers(aws, gcp, clock, monotonic):
    async with a_pod(aws, clock, peer(gcp.port), monotonic) as (endpoint, _):
        await post(endpoint, label(gcp.ring, clock))
        await eventually(lambda: gcp.writer.is_healthy)
        read = samples((await gcp.get("/metrics"))[1])

    assert total(read, "model_feedback_total", result="accepted") == 1
