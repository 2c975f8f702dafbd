"""The way into a cloud: every byte, both directions, each end's close."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from localclouds import front

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def forwarded(handler: Handler) -> AsyncIterator[int]:
    """A server behind a front; yields the front's port."""
    server = await asyncio.start_server(handler, "127.0.0.1", 0)
    inside = server.sockets[0].getsockname()[1]
    outside = _free_port()
    forwarding = asyncio.create_task(front.forward(f"http://127.0.0.1:{outside}", f"http://127.0.0.1:{inside}"))
    async with server:
        try:
            yield outside
        finally:
            forwarding.cancel()
            with suppress(asyncio.CancelledError):
                await forwarding


async def connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    async with asyncio.timeout(5):
        while True:
            with suppress(ConnectionRefusedError):
                return await asyncio.open_connection("127.0.0.1", port)
            await asyncio.sleep(0.01)


async def close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


async def test_megabytes_come_back_unchanged() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
        await close(writer)

    sent = os.urandom(8 * 1024 * 1024)
    async with asyncio.timeout(20), forwarded(echo) as port:
        reader, writer = await connect(port)

        async def send() -> None:
            writer.write(sent)
            await writer.drain()
            writer.write_eof()

        received, _ = await asyncio.gather(reader.read(), send())

        assert received == sent
        await close(writer)


async def test_a_client_may_end_its_half_and_still_get_the_answer() -> None:
    async def answer_at_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        question = await reader.read()
        writer.write(b"you said " + question)
        await close(writer)

    async with asyncio.timeout(10), forwarded(answer_at_end) as port:
        reader, writer = await connect(port)
        writer.write(b"hello")
        writer.write_eof()

        assert await reader.read() == b"you said hello"
        await close(writer)


async def test_a_server_that_hangs_up_is_seen_by_the_client() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        await close(writer)

    async with asyncio.timeout(10), forwarded(hang_up) as port:
        reader, writer = await connect(port)
        writer.write(b"?")

        assert await reader.read() == b""
        await close(writer)


async def test_a_client_that_hangs_up_is_seen_by_the_server() -> None:
    seen = asyncio.Event()

    async def note_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            await reader.read()
        seen.set()
        await close(writer)

    async with asyncio.timeout(10), forwarded(note_end) as port:
        _, writer = await connect(port)
        await close(writer)

        await seen.wait()


async def test_a_slow_reader_holds_the_sender_back_instead_of_filling_memory() -> None:
    written = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        with suppress(ConnectionError):
            while True:
                writer.write(b"x" * 65536)
                await writer.drain()
                written += 65536
        await close(writer)

    async with asyncio.timeout(20), forwarded(flood) as port:
        reader, writer = await connect(port)
        await reader.readexactly(1)
        before = -1
        while written != before:  # until nothing moves any more
            before = written
            await asyncio.sleep(0.2)

        assert written < 64 * 1024 * 1024
        writer.transport.abort()
        await close(writer)


async def test_when_nothing_listens_inside_the_connection_is_reset() -> None:
    outside = _free_port()
    forwarding = asyncio.create_task(front.forward(f"http://127.0.0.1:{outside}", f"http://127.0.0.1:{_free_port()}"))
    reader, writer = await connect(outside)

    with pytest.raises(ConnectionResetError):
        await reader.read()

    await close(writer)
    forwarding.cancel()
    with suppress(asyncio.CancelledError):
        await forwarding


def test_usage_is_told_for_anything_else() -> None:
    answer = subprocess.run([sys.executable, "-m", "localclouds.front", "--help"], capture_output=True, text=True)

    assert (answer.returncode, answer.stderr) == (2, "usage: python -m localclouds.front --cloud-dir DIR\n")
