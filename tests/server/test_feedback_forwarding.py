"""Between a pod and its collector: outages, silence, nonsense, order, and announcements that never give up."""

import asyncio
import contextlib

import pytest
import structlog

from pilotage_server.feedback import (
    CollectorAddress,
    CollectorLink,
    CollectorUnavailable,
    Forwarder,
    KeyRing,
    Registration,
    Result,
    open_feedback,
)
from pilotage_server.feedback import exchange as linking
from pilotage_server.feedback import forwarder as forwarding
from pilotage_server.feedback.registration import LONGEST_RETRY_S, refresh_keys, retry_delay_s
from support.feedback import (
    REVISION,
    Clock,
    a_collector,
    an_identity,
    an_item,
    eventually,
    key_dir,
)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def ring(tmp_path):
    return KeyRing(key_dir(tmp_path / "keys"))


@contextlib.asynccontextmanager
async def running(coroutine):
    task = asyncio.create_task(coroutine)
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@contextlib.asynccontextmanager
async def a_server(handle):
    """A TCP server of the test's own making on a free port; its connections end with it."""
    connections: set[asyncio.Task[None]] = set()

    async def serve(reader, writer):
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        try:
            await handle(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield CollectorAddress(host="127.0.0.1", port=server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


async def silent(reader, writer):
    """Take everything, answer nothing."""
    await reader.read()


def items(clock, count, start=0, label="cat"):
    return [an_item(issued_ms=int(clock.now * 1000), nonce=start + n, label=label) for n in range(count)]


async def test_requests_that_wait_together_travel_together_and_get_their_own_results(tmp_path, clock):
    async with a_collector(tmp_path, clock) as collector:
        forwarder, _ = collector.forwarder(an_identity())
        waiting = [asyncio.create_task(forwarder.submit(items(clock, n + 1, start=100 * n))) for n in range(20)]
        await asyncio.sleep(0)
        async with running(forwarder.run()):
            results = await asyncio.gather(*waiting)

    assert [len(result) for result in results] == list(range(1, 21))
    assert {result for results_of_one in results for result in results_of_one} == {Result.ACCEPTED}


async def test_labels_of_one_pod_arrive_in_the_order_they_were_posted(tmp_path, clock):
    async with a_collector(tmp_path, clock) as collector:
        forwarder, _ = collector.forwarder(an_identity())
        async with running(forwarder.run()):
            labels = ("cat", "dog", "eel") * 10
            await asyncio.gather(*[forwarder.submit(items(clock, 1, label=label)) for label in labels])
        clock.advance(60)
        await collector.matured()
        (counts,) = collector.writer.snapshot.revisions
        assert {key for key, cell in counts.cells.items() if cell.rows} == {(2, 0)}


async def test_a_revision_the_collector_has_not_heard_of_is_announced_on_the_way(tmp_path, clock):
    async with a_collector(tmp_path, clock) as collector:
        forwarder, _ = collector.forwarder(an_identity())
        async with running(forwarder.run()):
            assert await forwarder.submit(items(clock, 1)) == [Result.ACCEPTED]
        assert [counts.revision for counts in collector.writer.snapshot.revisions] == [REVISION]


async def test_an_outage_fails_everything_that_waits_and_says_so_once_in_the_log(ring, clock):
    async with a_server(silent) as address:
        pass
    forwarder = Forwarder(an_identity(), CollectorLink(address, ring, clock=clock))
    waiting = [asyncio.create_task(forwarder.submit(items(clock, 1))) for _ in range(5)]
    await asyncio.sleep(0)
    with structlog.testing.capture_logs() as logs:
        async with running(forwarder.run()):
            results = await asyncio.gather(*waiting, return_exceptions=True)
            with pytest.raises(CollectorUnavailable):
                await forwarder.submit(items(clock, 1))

    assert all(isinstance(result, CollectorUnavailable) for result in results)
    assert [log["event"] for log in logs] == ["feedback.collector_lost"]


async def test_a_collector_that_accepts_and_never_answers_costs_a_bounded_wait(ring, clock, monkeypatch):
    monkeypatch.setattr(linking, "ANSWER_TIMEOUT_S", 0.1)

    async with a_server(silent) as address:
        forwarder = Forwarder(an_identity(), CollectorLink(address, ring, clock=clock))
        async with running(forwarder.run()):
            with pytest.raises(CollectorUnavailable, match="TimeoutError"):
                await forwarder.submit(items(clock, 1))


async def test_a_request_waits_no_longer_than_its_patience(ring, clock, monkeypatch):
    monkeypatch.setattr(forwarding, "PATIENCE_S", 0.1)
    forwarder = Forwarder(an_identity(), CollectorLink(CollectorAddress(host="127.0.0.1", port=9), ring, clock=clock))

    with pytest.raises(CollectorUnavailable, match="no answer from the collector within"):
        await forwarder.submit(items(clock, 1))


async def test_a_full_queue_refuses_at_once(ring, clock, monkeypatch):
    monkeypatch.setattr(forwarding, "MAX_QUEUED_ITEMS", 10)
    forwarder = Forwarder(an_identity(), CollectorLink(CollectorAddress(host="127.0.0.1", port=9), ring, clock=clock))
    first = asyncio.create_task(forwarder.submit(items(clock, 10)))
    await asyncio.sleep(0)

    with pytest.raises(CollectorUnavailable, match="10 labels are waiting for the collector already"):
        await forwarder.submit(items(clock, 1))
    first.cancel()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ncontent-length: 25\r\n\r\n" + b'{"results": ["counted"]}  ',
        b"SSH-2.0-OpenSSH_9.9\r\n\r\n",
        b"x" * 100_000,
        b"HTTP/1.1 503 Busy\r\ncontent-length: 4\r\n\r\nbusy",
        b"HTTP/1.1 500 \xff\r\ncontent-length: 1\r\n\r\n\xff",
    ],
    ids=range(9),
)
async def test_an_answer_that_is_not_the_collectors_accepts_nothing(ring, clock, answer):
    async def nonsense(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)

    async with a_server(nonsense) as address:
        forwarder = Forwarder(an_identity(), CollectorLink(address, ring, clock=clock))
        async with running(forwarder.run()):
            with pytest.raises(CollectorUnavailable):
                await forwarder.submit(items(clock, 1))


async def test_a_connection_the_collector_closed_while_idle_is_opened_again(tmp_path, clock):
    async with a_collector(tmp_path, clock) as first:
        forwarder, _ = first.forwarder(an_identity())
        port = first.port
        task = asyncio.create_task(forwarder.run())
        await forwarder.submit(items(clock, 1))
    async with a_collector(tmp_path, clock, port=port):
        assert await forwarder.submit(items(clock, 1, start=5)) == [Result.ACCEPTED]
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_what_waits_when_the_pod_stops_is_refused_not_forgotten(ring, clock):
    heard = asyncio.Event()

    async def hears(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        heard.set()
        await reader.read()

    async with a_server(hears) as address:
        forwarder = Forwarder(an_identity(), CollectorLink(address, ring, clock=clock))
        async with running(forwarder.run()):
            under_way = asyncio.create_task(forwarder.submit(items(clock, 1)))
            async with asyncio.timeout(10):
                await heard.wait()
            behind = asyncio.create_task(forwarder.submit(items(clock, 1)))
            await asyncio.sleep(0)

    for waiting in (under_way, behind):
        with pytest.raises(CollectorUnavailable, match="shutting down"):
            await waiting


async def test_registration_goes_on_until_the_collector_is_there(tmp_path, ring, clock):
    async with a_collector(tmp_path, clock) as gone:
        address = gone.address
    registration = Registration(an_identity(), CollectorLink(address, ring, clock=clock))
    with structlog.testing.capture_logs() as logs:
        async with running(registration.run(jitter=lambda: 0.0)):
            await eventually(lambda: bool(logs))
            assert not registration.registered.is_set()
            async with a_collector(tmp_path, clock, port=address.port) as collector:
                async with asyncio.timeout(10):
                    await registration.registered.wait()
                assert len(collector.writer.snapshot.revisions) == 1

    assert [log["event"] for log in logs if log["event"].startswith("feedback")] == [
        "feedback.registration_failed",
        "feedback.registered",
    ]


async def test_all_cells_stand_at_zero_once_a_revision_is_registered(tmp_path, clock):
    async with a_collector(tmp_path, clock) as collector:
        feedback = open_feedback(an_identity(), collector.ring, collector.address)
        collector.clock.now = clock.now
        registration = Registration(an_identity(), CollectorLink(collector.address, collector.ring, clock=clock))
        async with running(registration.run()):
            async with asyncio.timeout(10):
                await registration.registered.wait()
        assert not feedback.registration.registered.is_set()
        _, text = await collector.get("/metrics")

    cells = [
        line for line in text.decode().splitlines() if line.startswith(("pilotage_matured_labels", "model_confusion"))
    ]
    assert len(cells) == 18
    assert all(line.endswith(" 0") for line in cells)


def test_retries_double_from_half_a_second_to_fifteen():
    assert [retry_delay_s(failures, 1.0) for failures in range(1, 8)] == [
        0.5,
        1,
        2,
        4,
        8,
        LONGEST_RETRY_S,
        LONGEST_RETRY_S,
    ]
    assert retry_delay_s(10**6, 0.0) == LONGEST_RETRY_S / 2


def test_changed_keys_are_logged_and_refused_ones_only_once(ring, tmp_path):
    with structlog.testing.capture_logs() as logs:
        refused = refresh_keys(ring)
        key_dir(tmp_path / "keys", k2=b"2" * 32)
        refused = refresh_keys(ring, refused)
        key_dir(tmp_path / "keys", k3=b"short")
        refused = refresh_keys(ring, refresh_keys(ring, refused))

    assert [(log["event"], log.get("kids")) for log in logs] == [
        ("feedback.keys_changed", [1, 2]),
        ("feedback.keys_refused", None),
    ]
    assert "k3: 5 bytes" in refused


@pytest.mark.parametrize(
    ("env", "address"),
    [
        ({"PETS_COLLECTOR_SERVICE_HOST": "127.3.0.1", "PETS_COLLECTOR_SERVICE_PORT": "1234"}, ("127.3.0.1", 1234)),
        ({}, ("pets-collector", 8090)),
    ],
)
def test_the_collector_is_found_by_service_variables_or_by_name(env, address):
    found = CollectorAddress.from_env("pets-collector", env)

    assert (found.host, found.port) == address
