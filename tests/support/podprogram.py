"""A program for pods in tests: an HTTP server that tells about its surroundings and misbehaves on demand.

    /health           200, or 503 after /ready?no          /name        POD_NAME
    /env              its environment as JSON              /file?PATH   a file's content
    /exit?CODE        ends at once with this code          /slow?S      answers after S seconds
    /count            requests answered so far             /close       answers and closes the connection

On SIGTERM it goes on for LINGER_S (default 0), answers with `Connection: close`, and ends when all is answered;
with STUBBORN=1 it ignores it. With FAIL=CODE it writes SAY to stderr and to MESSAGE_FILE and ends with the code.
Standard library only: it starts once per container.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time

root = os.environ.get("PILOTAGE_POD_ROOT", "")
state = {"ready": True, "leaving": False, "under_way": 0, "count": 0}


def read(path: str) -> tuple[int, bytes]:
    try:
        with open(root + path, "rb") as file:
            return 200, file.read()
    except OSError as error:
        return 404, str(error).encode()


def write(path: str, text: str) -> tuple[int, bytes]:
    try:
        with open(root + path, "w") as file:
            file.write(text)
    except OSError as error:
        return 403, str(error).encode()
    return 200, b"written"


async def answer(path: str, query: str) -> tuple[int, bytes]:
    match path:
        case "/health":
            return (200, b"ok") if state["ready"] else (503, b"told to be unready")
        case "/ready":
            state["ready"] = query != "no"
        case "/env":
            return 200, json.dumps(dict(os.environ)).encode()
        case "/file":
            return read(query)
        case "/write":
            return write(*query.split("=", 1))
        case "/exit":
            print("told to exit", flush=True)
            os._exit(int(query))
        case "/slow":
            await asyncio.sleep(float(query))
        case "/count":
            return 200, str(state["count"]).encode()
    return 200, os.environ.get("POD_NAME", "").encode()


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            fields = dict(line.lower().split(": ", 1) for line in head[1:] if ": " in line)
            await reader.readexactly(int(fields.get("content-length", 0)))
            path, _, query = head[0].split(" ")[1].partition("?")
            state["under_way"] += 1
            code, body = await answer(path, query)
            state["under_way"] -= 1
            state["count"] += 1
            last = state["leaving"] or path == "/close"
            more = "connection: close\r\n" if last else ""
            writer.write(f"HTTP/1.1 {code} X\r\ncontent-length: {len(body)}\r\n{more}\r\n".encode() + body)
            await writer.drain()
            if last:
                break
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main() -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    if os.environ.get("STUBBORN"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        loop.add_signal_handler(signal.SIGTERM, stop.set)
    server = await asyncio.start_server(serve, os.environ["POD_IP"], int(os.environ.get("PORT", "8080")))
    print("serving", flush=True)
    await stop.wait()
    print("leaving", flush=True)
    state["leaving"] = True
    end = time.monotonic() + float(os.environ.get("LINGER_S", "0"))
    while time.monotonic() < end or state["under_way"]:  # noqa: ASYNC110  (its only waiting)
        await asyncio.sleep(0.02)
    server.close()


if os.environ.get("FAIL"):
    said = os.environ.get("SAY", "")
    print(said, file=sys.stderr, flush=True)
    if os.environ.get("MESSAGE_FILE"):
        with open(root + os.environ["MESSAGE_FILE"], "w") as message:
            message.write(said)
    sys.exit(int(os.environ["FAIL"]))
asyncio.run(main())
