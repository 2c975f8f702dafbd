"""The gateway's data path: what passes, what is refused, and which connections are used again."""

from __future__ import annotations

import asyncio

import pytest

from localclouds.gateway import upstream
from support.gatewayworld import HOST, Proxied, a_pod, proxied, read_request, request, response
from support.polling import eventually_async

PATH = "/services/models/digits/"


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers every request with its own head and body."""
    while True:
        head, body = await read_request(reader)
        writer.write(response(head + body))


async def test_a_request_passes_with_its_path_cut_and_the_client_named() -> None:
    async with proxied(echo) as gateway:
        raw = request(f"{PATH}v2/infer?a=1", method="POST", body=b"{}", fields=("X-One: 1", "Te: trailers"))
        answer = await gateway.exchange(raw)
    head, _, echoed = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert echoed.startswith(b"POST /v2/infer?a=1 HTTP/1.1\r\n")
    assert echoed.endswith(b"\r\n\r\n{}")
    assert b"host: anything\r\n" in echoed
    assert b"x-one: 1\r\n" in echoed
    assert b"x-forwarded-for: 127.0.0.1\r\n" in echoed
    assert b"trailers" not in echoed


async def test_many_requests_use_one_connection() -> None:
    async with proxied(echo) as gateway:
        reader, writer = await gateway.connect()
        for _ in range(20):
            writer.write(request())
            head, _ = await read_request(reader)
            assert head.startswith(b"HTTP/1.1 200")
        writer.close()
        assert gateway.connections == 1
        assert gateway.codes == {200: 20}


async def test_a_request_in_pieces_is_whole_for_the_pod() -> None:
    async with proxied(echo) as gateway:
        reader, writer = await gateway.connect()
        for byte in request(method="POST", body=b"hello"):
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)
        _, body = await read_request(reader)
        writer.close()
    assert body.endswith(b"\r\n\r\nhello")


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with proxied(echo) as gateway:
        raw = b"".join(request(f"{PATH}{number}", method="POST", body=b"%d" % number) for number in range(10))
        answer = await gateway.exchange(raw)
    positions = [answer.index(b"POST /%d HTTP" % number) for number in range(10)]
    assert positions == sorted(positions)


async def test_chunked_bodies_pass_both_ways() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"transfer-encoding: chunked" in head
        body = await reader.readuntil(b"0\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body)

    async with proxied(script) as gateway:
        fields = ("Transfer-Encoding: chunked",)
        answer = await gateway.exchange(request(method="POST", fields=fields) + b"5\r\nhello\r\n0\r\n\r\n")
    assert b"transfer-encoding: chunked\r\n" in answer
    assert answer.endswith(b"\r\n\r\n5\r\nhello\r\n0\r\n\r\n")


async def test_an_answer_that_ends_with_its_connection_is_passed_whole() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nall of it")

    async with proxied(script) as gateway:
        assert (await gateway.exchange(request())).endswith(b"9\r\nall of it\r\n0\r\n\r\n")
        old = await gateway.exchange(request().replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert old.endswith(b"connection: close\r\n\r\nall of it")
        assert gateway.codes == {200: 2}


async def test_head_and_no_content_have_no_body() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head, _ = await read_request(reader)
            if head.startswith(b"HEAD"):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            else:
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with proxied(script) as gateway:
        answer = await gateway.exchange(request(method="HEAD") + request(method="DELETE"))
    first = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n"
    assert answer == first + b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n"


async def test_interim_answers_stay_between_gateway_and_pod() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + response(b"done"))

    async with proxied(script) as gateway:
        assert (await gateway.exchange(request())).endswith(b"\r\n\r\ndone")


async def test_a_client_that_waits_for_100_continue_gets_it() -> None:
    async with proxied(echo) as gateway:
        reader, writer = await gateway.connect()
        writer.write(request(method="POST", fields=("Expect: 100-continue", "Content-Length: 2")))
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"ok")
        _, body = await read_request(reader)
        writer.close()
    assert body.endswith(b"ok")
    assert b"expect" not in body


async def test_large_bodies_pass_without_being_gathered() -> None:
    size = 20_000_000

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, body = await read_request(reader)
        writer.write(response(body))
        await writer.drain()

    async with proxied(script) as gateway:
        reader, writer = await gateway.connect()
        writer.write(request(method="POST", body=b"x" * size))
        _, body = await asyncio.wait_for(read_request(reader), 30)
        writer.close()
    assert len(body) == size


async def test_a_connection_that_its_server_announced_to_close_is_not_used_again() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(response(b"bye", "200 OK", "Connection: close"))

    async with proxied(script) as gateway:
        reader, writer = await gateway.connect()
        for _ in range(5):
            writer.write(request())
            head, body = await read_request(reader)
            assert body == b"bye"
            # It says so between gateway and pod only: the client's own connection goes on.
            assert b"connection" not in head
        writer.close()
        assert gateway.connections == 5
        assert gateway.codes == {200: 5}


async def test_a_connection_closed_while_idle_is_never_sent_into() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(response(b"ok"))

    async with proxied(script) as gateway:
        for _ in range(50):
            # The server closes at once and without a word; no moment passes in which the loop could notice.
            answer = await gateway.exchange(request())
            assert answer.endswith(b"ok")
        assert gateway.codes == {200: 50}


async def test_a_connection_that_was_idle_for_long_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "IDLE_S", 0.0)
    async with proxied(echo) as gateway:
        await gateway.exchange(request())
        await gateway.exchange(request())
        assert gateway.connections == 2
        gateway.core.pool.sweep()
        assert gateway.core.pool.idle == 0


async def test_a_pod_that_leaves_gets_nothing_new_and_finishes_what_it_has() -> None:
    started, finish = asyncio.Event(), asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            started.set()
            await finish.wait()
            writer.write(response(b"finished"))

    async with proxied(script) as gateway:
        reader, writer = await gateway.connect()
        writer.write(request())
        await started.wait()
        _leave(gateway)
        refused = await gateway.exchange(request())
        finish.set()
        _, body = await read_request(reader)
        writer.close()
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert refused.endswith(b"no pod of Service models/digits is ready\n")
        assert body == b"finished"
        assert gateway.core.pool.idle == 0
        assert gateway.codes == {200: 1, 503: 1}


def _leave(gateway: Proxied) -> None:
    (key,) = gateway.pods
    gateway.pods[key] = a_pod(key.name, leaving=True)
    gateway.core.table.changed()
    gateway.core.pool.set_live(HOST, False)


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 2", b"nonsense\r\n\r\n", b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n"]
)
async def test_no_answer_of_the_pod_is_502_and_never_tried_again(answer: bytes) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(answer)

    async with proxied(script) as gateway:
        got = await asyncio.wait_for(gateway.exchange(request()), 5)
        assert got.startswith(b"HTTP/1.1 502 Bad Gateway")
        assert gateway.connections == 1
        assert gateway.codes == {502: 1}


async def test_an_answer_that_breaks_off_cuts_the_client_and_counts_as_502() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")

    async with proxied(script) as gateway:
        reader, writer = await gateway.connect()
        writer.write(request())
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await read_request(reader)
        writer.close()
        assert gateway.codes == {502: 1}


async def test_a_pod_that_cannot_be_reached_is_502() -> None:
    async with proxied(echo) as gateway:
        (key,) = gateway.pods
        gateway.pods[key] = a_pod(key.name, ip="127.0.0.2")
        gateway.core.table.changed()
        answer = await gateway.exchange(request())
        assert b"pod digits-1 cannot be reached" in answer
        assert gateway.codes == {502: 1}


async def test_a_client_that_leaves_is_counted_and_the_pod_is_told() -> None:
    started, told = asyncio.Event(), asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        started.set()
        try:
            assert await reader.read() == b""
        finally:
            told.set()

    async with proxied(script) as gateway:
        _, writer = await gateway.connect()
        writer.write(request())
        await started.wait()
        writer.transport.abort()
        async with asyncio.timeout(5):
            await told.wait()
        await eventually_async(lambda: gateway.codes == {499: 1})
        assert not gateway.core.active


async def test_a_silent_pod_times_out() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        await reader.read()

    async with proxied(script) as gateway:
        reader, writer = await gateway.connect()
        writer.write(request())
        await eventually_async(lambda: gateway.connections == 1)
        (exchange,) = gateway.core.active
        exchange.time_out()
        head, _ = await read_request(reader)
        writer.close()
        assert head.startswith(b"HTTP/1.1 504 Gateway Timeout")
        assert gateway.codes == {504: 1}


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", 431),
        (request("/nowhere"), 404),
        (request(fields=("Connection: Upgrade", "Upgrade: websocket")), 501),
    ],
    ids=["nonsense", "smuggling", "large head", "no route", "upgrade"],
)
async def test_what_cannot_be_passed_on_is_refused(raw: bytes, code: int) -> None:
    async with proxied(echo) as gateway:
        reader, writer = await gateway.connect()
        writer.write(raw)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n"), 5)
        writer.close()
        assert head.startswith(b"HTTP/1.1 %d " % code)
        assert gateway.connections == 0
        assert sum(gateway.codes.values()) == 1


async def test_metrics_count_each_request_once_by_route_backend_and_code() -> None:
    async with proxied(echo) as gateway:
        for path in (PATH, PATH, "/nowhere"):
            await gateway.exchange(request(path))
        text = gateway.core.metrics.text({"gateway_requests_in_flight": 0})
    assert 'gateway_requests_total{route="service:models/digits",backend="digits",code="200"} 2\n' in text
    assert 'gateway_requests_total{route="",backend="",code="404"} 1\n' in text
    assert "gateway_requests_in_flight 0\n" in text
