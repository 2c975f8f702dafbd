"""Good and bad requests, mixed, through one server: every answer as expected, and no memory kept.

Run: python -m benchmarks.soak [--requests 200000] [--bundle DIR]. Each connection sends a hundred requests at once, of
every kind in an order of its own: predictions in JSON, bytes and gzip, older protocols, mistakes of every sort, labels
that are none. Answers must come in order, with the status of their kind, and equal requests must get equal answers
whatever their neighbours, but for the token. Memory may grow by --allowed-mb from a tenth of the run on. Exits 1 else.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import os
import random
import re
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

PER_CONNECTION: Final = 100
CONNECTIONS: Final = 8
ROW: Final = (5.1, 3.5, 1.4, 0.2)
_HEAD: Final = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r]*\r\n(.*?)\r\n\r\n", re.DOTALL)
_LENGTH: Final = re.compile(rb"content-length: (\d+)")
_TOKEN: Final = re.compile(rb'"feedback_token":"[^"]*"')


class Wrong(Exception):
    """An answer that is not the one its request must get."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One request, byte for byte, and the status it must get."""

    name: str
    request: bytes
    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Soaked:
    """Requests answered, and resident memory at a tenth of the run and at its end, bytes."""

    answered: int
    early: int
    late: int


def kinds(model: str) -> tuple[Kind, ...]:
    """Every kind of request for a model with the four features of iris."""
    path, base = f"/v2/models/{model}/infer", f"/v2/models/{model}"
    tensor = {"name": "input", "datatype": "FP64", "shape": [1, 4]}
    one = _json({"inputs": [{**tensor, "data": ROW}]})
    many = _json({"inputs": [{**tensor, "shape": [32, 4], "data": ROW * 32}], "outputs": [{"name": "predict"}]})
    head = _json({"inputs": [{**tensor, "parameters": {"binary_data_size": 32}}]})
    sized = {"inference-header-content-length": str(len(head))}
    values = struct.pack("<4d", *ROW)
    labels = {"feedback": [{"token": "AgEAAAGiBwvP", "row": 0, "label": "setosa"}, 5, {"token": None}]}
    return (
        Kind(name="json", request=_post(path, one), status=200),
        Kind(name="32 rows", request=_post(path, many), status=200),
        Kind(name="bytes", request=_post(path, head + values, **sized), status=200),
        Kind(name="gzip", request=_post(path, gzip.compress(one, mtime=0), **{"content-encoding": "gzip"}), status=200),
        Kind(name="v1", request=_post(f"/v1/models/{model}:predict", _json({"instances": [ROW]})), status=200),
        Kind(name="metadata", request=_get(base), status=200),
        Kind(name="health", request=_get("/v2/health/live"), status=200),
        Kind(name="labels", request=_post(f"{base}/feedback", _json(labels)), status=200),
        Kind(name="no JSON", request=_post(path, one[:-2]), status=400),
        Kind(name="no body", request=_post(path, b""), status=400),
        Kind(name="narrow", request=_post(path, one.replace(b"[1,4]", b"[1,3]")), status=400),
        Kind(name="text", request=_post(path, one.replace(b"5.1", b'"a"')), status=400),
        Kind(
            name="far away",
            request=_post(path, one.replace(b"5.1,3.5,1.4,0.2", b"1e308,1e308,1e308,1e308")),
            status=400,
        ),
        Kind(name="too many rows", request=_post(path, one.replace(b"[1,4]", b"[4097,4]")), status=413),
        Kind(name="short bytes", request=_post(path, head + values[:8], **sized), status=400),
        Kind(name="no gzip", request=_post(path, one, **{"content-encoding": "gzip"}), status=400),
        Kind(name="unknown encoding", request=_post(path, one, **{"content-encoding": "br"}), status=415),
        Kind(name="too late", request=_post(path, one, **{"x-request-deadline-ms": "0"}), status=408),
        Kind(name="no labels", request=_post(f"{base}/feedback", b"[]"), status=400),
        Kind(name="unknown model", request=_post("/v2/models/nobody/infer", one), status=404),
        Kind(name="unknown page", request=_get("/x"), status=404),
        Kind(name="wrong method", request=_get(path), status=405),
    )


async def soak(port: int, pid: int, *, model: str, requests: int, seed: int = 1) -> Soaked:
    """Send at least so many requests; raises `Wrong` for the first answer that is not as it must be."""
    connections = -(-requests // PER_CONNECTION)
    order, known = random.Random(seed), kinds(model)
    seen: dict[str, bytes] = {}
    left = iter(range(connections))
    early = 0

    async def work() -> None:
        nonlocal early
        for number in left:
            await _connection(port, order.choices(known, k=PER_CONNECTION), seen)
            if number == connections // 10:
                early = resident(pid)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(CONNECTIONS):
            tasks.create_task(work())
    return Soaked(answered=connections * PER_CONNECTION, early=early, late=resident(pid))


def resident(pid: int) -> int:
    """Resident memory of a process, bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def _connection(port: int, sent: Sequence[Kind], seen: dict[str, bytes]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"".join(kind.request for kind in sent))
        async with asyncio.timeout(60):
            received = await reader.read(-1)
    finally:
        writer.close()
    answers = list(_answers(received))
    if len(answers) != len(sent):
        raise Wrong(f"{len(sent)} requests got {len(answers)} answers")
    for kind, (status, body) in zip(sent, answers, strict=True):
        if status != kind.status or (status >= 400 and b'{"error":"' not in body):
            raise Wrong(f"{kind.name}: {status}, not {kind.status}: {body[:300]!r}")
        told = _TOKEN.sub(b"", body)
        if seen.setdefault(kind.name, told) != told:
            raise Wrong(f"{kind.name}: {told[:300]!r}, before {seen[kind.name][:300]!r}")


def _answers(received: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(received):
        head = _HEAD.match(received, at)
        length = _LENGTH.search(head[2]) if head else None
        if head is None or length is None:
            raise Wrong(f"no answer: {received[at : at + 200]!r}")
        at = head.end() + int(length[1])
        yield int(head[1]), received[head.end() : at]


def _post(path: str, body: bytes, **headers: str) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {path} HTTP/1.1\r\nhost: soak\r\n{lines}content-length: {len(body)}\r\n\r\n".encode() + body


def _get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nhost: soak\r\n\r\n".encode()


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def main() -> int:
    """Train a model if none is given, soak a server of it, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=200_000)
    parser.add_argument("--allowed-mb", type=float, default=4.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, _running(Path(scratch)) as (port, pid):
        soaked = asyncio.run(soak(port, pid, model="iris", requests=arguments.requests))
    grown = (soaked.late - soaked.early) / 2**20
    print(
        f"{soaked.answered:,} requests answered as they must be; resident memory {soaked.early / 2**20:.1f} MB after a "
        f"tenth of them, {soaked.late / 2**20:.1f} MB in the end: {grown:+.1f} MB, {arguments.allowed_mb:g} allowed"
    )
    return 1 if grown > arguments.allowed_mb else 0


@contextmanager
def _running(folder: Path) -> Iterator[tuple[int, int]]:
    """A server of iris with everything on but a collector; its port and pid."""
    (folder / "iris.yaml").write_text("name: iris\ndata: {dataset: iris}\nmodel: {estimator: logistic-regression}\n")
    (folder / "keys").mkdir()
    (folder / "keys" / "k1").write_bytes(bytes(range(32)))
    commands = Path(sys.executable).parent
    train = [str(commands / "pilotage-model"), "train", str(folder / "iris.yaml"), "--out", str(folder / "run")]
    subprocess.run(train, check=True, capture_output=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    serve = [str(commands / "pilotage-server"), "serve", "--bundle", str(folder / "run" / "bundle"), "--allow-unsigned"]
    serve += ["--feedback-key-dir", str(folder / "keys"), "--port", str(port), "--admin-port", "0"]
    process = subprocess.Popen(serve, stderr=subprocess.PIPE, text=True, env={**os.environ, "PILOTAGE_CLUSTER": "soak"})
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if '"server.ready"' in line:
                break
        else:
            raise SystemExit(f"the server ended with {process.wait()}")
        yield port, process.pid
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    raise SystemExit(main())
