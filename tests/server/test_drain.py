"""A server that is asked to leave loses no request, and its last counts are scraped.

Real processes, real connections.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.polling import eventually, eventually_async
from support.serving import Keys, Server, running_server

QUICK = {"PILOTAGE_SERVER_DRAIN_SECONDS": "1.5", "PILOTAGE_SERVER_LAST_SCRAPE_SECONDS": "15"}
BODY = json.dumps(
    {"inputs": [{"name": "x", "datatype": "FP64", "shape": [1, 4], "data": [5.1, 3.5, 1.4, 0.2]}]}
).encode()
REQUEST = (
    b"POST /v2/models/iris/infer HTTP/1.1\r\nhost: iris\r\ncontent-length: "
    + str(len(BODY)).encode()
    + b"\r\n\r\n"
    + BODY
)


@dataclass
class Tally:
    """What one client saw."""

    answered: int = 0
    closed_by_announcement: int = 0
    lost: int = 0


async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[int, Mapping[str, str]]:
    """One request on an open connection: status and headers of its answer."""
    writer.write(REQUEST)
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
    await reader.readexactly(int(headers["content-length"]))
    return int(head[0].split()[1]), headers


async def client(port: int, tally: Tally, leaving: asyncio.Event) -> None:
    """A client of the kind a Service makes: once told to go, it connects to another pod."""
    while not leaving.is_set():
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            while True:
                status, headers = await exchange(reader, writer)
                assert status == 200
                tally.answered += 1
                if headers.get("connection") == "close":
                    tally.closed_by_announcement += 1
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            tally.lost += 1
            return
        finally:
            writer.close()


@pytest.fixture
def trust(keys: Keys) -> tuple[str, str]:
    return "--bundle-key-dir", str(keys.public_dir)


async def test_no_request_is_lost_when_sigterm_meets_busy_connections(iris: Path, trust: tuple[str, str]) -> None:
    with running_server(iris / "bundle", *trust, env=QUICK) as server:
        tallies = [Tally() for _ in range(16)]
        leaving = asyncio.Event()
        clients = [asyncio.create_task(client(server.port, tally, leaving)) for tally in tallies]
        await eventually_async(lambda: min(tally.answered for tally in tallies) >= 150, within_s=20)
        server.terminate()
        ready = await asyncio.to_thread(until_not_ready, server)
        leaving.set()
        await asyncio.gather(*clients)

        assert ready == {"live": True, "ready": False, "error": "server is draining"}
        assert sum(tally.lost for tally in tallies) == 0
        assert all(tally.closed_by_announcement >= 2 for tally in tallies)
        answered = sum(tally.answered for tally in tallies)
        eventually(lambda: "server.drained" in "".join(server.lines))
        names = f'code="200",model="iris",protocol="v2",revision="{revision(server)}"'
        assert server.metric(f"model_requests_total{{{names}}}") == answered
        assert await asyncio.to_thread(server.process.wait, 10) == 0


def until_not_ready(server: Server) -> object:
    return eventually(
        lambda: (answer := server.request("GET", "/v2/health/ready", admin=True)).status == 503 and answer.body
    )


def revision(server: Server) -> str:
    """The name it gave itself, from its log."""
    return next(str(json.loads(line)["revision"]) for line in server.lines if '"server.ready"' in line)


async def test_a_draining_server_answers_and_asks_every_connection_to_close(iris: Path, trust: tuple[str, str]) -> None:
    with running_server(iris / "bundle", *trust, env=QUICK) as server:
        idle = await asyncio.open_connection("127.0.0.1", server.port)
        assert "connection" not in (await exchange(*idle))[1]

        server.terminate()
        await asyncio.to_thread(until_not_ready, server)
        status, headers = await exchange(*idle)
        fresh = await asyncio.to_thread(server.request, "GET", "/v2/health/ready")

        assert (status, headers["connection"]) == (200, "close")
        assert await idle[0].read() == b""
        assert (fresh.status, fresh.headers["connection"]) == (503, "close")
        idle[1].close()


async def test_metrics_outlive_the_data_port_by_one_scrape(iris: Path, trust: tuple[str, str]) -> None:
    env = {**QUICK, "PILOTAGE_SERVER_DRAIN_SECONDS": "0"}
    with running_server(iris / "bundle", *trust, env=env) as server:
        server.request("GET", "/metrics", admin=True)

        server.terminate()
        eventually(lambda: "server.drained" in "".join(server.lines))

        with pytest.raises(ConnectionRefusedError):
            server.request("GET", "/v2")
        assert server.process.poll() is None
        assert "model_ready" in server.request("GET", "/metrics", admin=True).body
        assert server.process.wait(10) == 0


def test_without_a_scrape_it_leaves_all_the_same(iris: Path, trust: tuple[str, str]) -> None:
    env = {"PILOTAGE_SERVER_DRAIN_SECONDS": "0", "PILOTAGE_SERVER_LAST_SCRAPE_SECONDS": "0.2"}
    with running_server(iris / "bundle", *trust, env=env) as server:
        server.terminate()

        assert server.process.wait(10) == 0
        eventually(lambda: '"scraped": false' in "".join(server.lines))


def test_a_second_signal_ends_the_waiting(iris: Path, trust: tuple[str, str]) -> None:
    with running_server(iris / "bundle", *trust) as server:
        server.terminate()
        until_not_ready(server)
        server.terminate()

        assert server.process.wait(5) == 0


async def test_a_request_under_way_is_answered_before_the_end(iris: Path, trust: tuple[str, str]) -> None:
    env = {**QUICK, "PILOTAGE_SERVER_DRAIN_SECONDS": "0"}
    with running_server(iris / "bundle", *trust, env=env) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(REQUEST[:-20])
        await writer.drain()
        await asyncio.to_thread(server.request, "GET", "/v2")  # by now the other half has been read

        server.terminate()
        await asyncio.to_thread(eventually, lambda: "server.draining" in "".join(server.lines))
        writer.write(REQUEST[-20:])
        head = await reader.readuntil(b"\r\n\r\n")

        assert head.startswith(b"HTTP/1.1 200")
        assert b"connection: close" in head
        writer.close()


async def test_a_connection_is_recycled_by_announcement(iris: Path, trust: tuple[str, str]) -> None:
    env = {"PILOTAGE_SERVER_CONNECTION_REQUESTS": "5", "PILOTAGE_SERVER_CONNECTION_SECONDS": "600"}
    with running_server(iris / "bundle", *trust, env=env) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        closes = [(await exchange(reader, writer))[1].get("connection") for _ in range(5)]

        assert closes == [None, None, None, None, "close"]
        assert await reader.read() == b""
        writer.close()


async def test_an_old_connection_is_recycled_too(iris: Path, trust: tuple[str, str]) -> None:
    env = {"PILOTAGE_SERVER_CONNECTION_SECONDS": "0.3", "PILOTAGE_SERVER_CONNECTION_REQUESTS": "1000000"}
    with running_server(iris / "bundle", *trust, env=env) as server:
        started = asyncio.get_running_loop().time()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        async with asyncio.timeout(10):
            while (await exchange(reader, writer))[1].get("connection") != "close":
                pass

        assert asyncio.get_running_loop().time() - started >= 0.29
        assert await reader.read() == b""
        writer.close()


async def test_a_connection_without_a_request_is_closed(iris: Path, trust: tuple[str, str]) -> None:
    with running_server(iris / "bundle", *trust, env={"PILOTAGE_SERVER_IDLE_SECONDS": "1"}) as server:
        silent = await asyncio.open_connection("127.0.0.1", server.port)
        halting = await asyncio.open_connection("127.0.0.1", server.port)
        halting[1].write(REQUEST[:30])

        async with asyncio.timeout(10):
            assert await silent[0].read() == b""
            assert await halting[0].read() == b""
        for _, writer in (silent, halting):
            writer.close()
