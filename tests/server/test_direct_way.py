"""An infer request that was read whole goes past ASGI: nobody can tell by its answer, or by what is counted."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import socket
import struct
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import generate_latest

from pilotage_server.bundle import AnySigner, load, open_source
from pilotage_server.feedback import Identity, Issuer, KeyRing, TokenSigner
from pilotage_server.serve.app import DataApp
from pilotage_server.serve.body import Headers
from pilotage_server.serve.direct import DirectInfer, Exchange
from pilotage_server.serve.inference import Inference
from pilotage_server.serve.lifecycle import Lifecycle, Phase
from pilotage_server.serve.listener import Listener
from pilotage_server.serve.metrics import ServerMetrics
from pilotage_server.serve.model import ServedModel
from pilotage_server.serve.settings import Connections, Limits

PATH = "/v2/models/iris/infer"
ROW = [5.1, 3.5, 1.4, 0.2]
LIMITS = Limits(body_bytes=20_000, rows=64, queue_rows=256)
_TOKEN = re.compile(rb'"feedback_token":"[^"]+"')
_TIMES = re.compile(r"^(model_\w+_seconds|process_|python_).*$", re.MULTILINE)


class Noting(DirectInfer):
    """The direct way, and how many requests took it."""

    taken = 0

    def start(self, headers: Headers, body: bytes, exchange: Exchange) -> None:
        self.taken += 1
        super().start(headers, body, exchange)


@dataclass
class Way:
    """One listener over an application of its own."""

    model: ServedModel
    ring: KeyRing
    is_direct: bool
    rules: Connections = field(default_factory=lambda: Connections(requests=10**9, age_s=1e9))

    async def open(self) -> None:
        identity = Identity(model="iris", revision="iris-1", cluster="here", classes=self.model.bundle.manifest.classes)
        self.metrics = ServerMetrics(self.model, lambda: self.inference.waiting_rows)
        self.inference = Inference(
            self.model.predict,
            self.metrics.observe_predictions,
            LIMITS,
            issuer=Issuer(TokenSigner(self.ring, identity), None),
        )
        self.lifecycle = Lifecycle()
        self.lifecycle.phase = Phase.READY
        app = DataApp(self.model, self.inference, self.metrics, self.lifecycle, limits=LIMITS, feedback=None)
        app.direct.__class__ = Noting
        self.direct: Any = app.direct
        self.listener = Listener(app, self.rules, direct=self.direct if self.is_direct else None)
        self.port = await self.listener.start("127.0.0.1", 0)

    async def close(self) -> None:
        await self.listener.stop(1.0)
        self.inference.close()

    async def say(self, *pieces: bytes, is_all: bool = True) -> bytes:
        """Send pieces on one connection, a turn of the server between them, and give all that comes back."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.005)
        if is_all:
            writer.write_eof()
        found = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        return _TOKEN.sub(b'"feedback_token":""', found)

    def counted(self) -> str:
        return _TIMES.sub("", generate_latest(self.metrics.registry).decode())


def post(body: Any, *headers: str, path: str = PATH, version: str = "1.1") -> bytes:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"POST {path} HTTP/{version}", "host: a", f"content-length: {len(raw)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + raw


def matrix(rows: Sequence[Sequence[float]] | Sequence[float] = ROW, **changes: Any) -> dict[str, Any]:
    count = len(rows) if isinstance(rows[0], list) else len(rows) // 4
    return {"inputs": [{"name": "x", "datatype": "FP64", "shape": [count, 4], "data": rows, **changes}]}


def binary() -> bytes:
    head = {"inputs": [{**matrix()["inputs"][0], "parameters": {"binary_data_size": 32}}]}
    del head["inputs"][0]["data"]
    written = json.dumps({**head, "parameters": {"binary_data_output": True}}).encode()
    return post(written + struct.pack("<4d", *ROW), f"inference-header-content-length: {len(written)}")


CHUNKED = (
    f"POST {PATH} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n".encode()
    + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (json.dumps(matrix()).encode(), b" "))
    + b"0\r\n\r\n"
)
DIRECT: dict[str, tuple[bytes, ...]] = {
    "one row": (post(matrix()),),
    "nested": (post(matrix([ROW])),),
    "many rows": (post(matrix([ROW, [6.7, 3.0, 5.2, 2.3]] * 16)),),
    "whole numbers": (post(matrix([5, 3, 1, 0])),),
    "another datatype": (post(matrix(datatype="FP32")),),
    "an id and parameters": (post({"id": 'a"é', "parameters": {"region": "eu"}, **matrix()}),),
    "every output": (
        post({**matrix(), "outputs": [{"name": n} for n in ("output-0", "predict", "predict_proba", "decision")]}),
    ),
    "one output": (post({**matrix(), "outputs": [{"name": "predict_proba"}]}),),
    "binary tensors": (binary(),),
    "a version": (post(matrix(), path="/v2/models/iris/versions/iris-1/infer"),),
    "chunks": (CHUNKED,),
    "the client closes": (post(matrix(), "connection: close"),),
    "no JSON": (post(b"{"),),
    "no rows": (post(matrix(shape=[0, 4], data=[])),),
    "wrong width": (post(matrix(shape=[1, 3], data=ROW[:3])),),
    "text": (post(matrix(data=["a", *ROW[1:]])),),
    "booleans": (post(matrix(data=[True] * 4)),),
    "beyond all numbers": (post(matrix(data=[1e308] * 4)),),
    "too many rows": (post(matrix(ROW * 65)),),
    "unknown output": (post({**matrix(), "outputs": [{"name": "predct"}]}),),
    "one after the other": (post(matrix()), post(b"{"), post(matrix([ROW, ROW]))),
}
OTHERWISE: dict[str, tuple[bytes, ...]] = {
    "gzip": (post(gzip.compress(json.dumps(matrix()).encode(), mtime=0), "content-encoding: gzip"),),
    "a deadline": (post(matrix(), "x-request-deadline-ms: 5000"),),
    "a deadline in words": (post(matrix(), "x-request-deadline-ms: soon"),),
    "HTTP/1.0": (post(matrix(), version="1.0"),),
    "continue": (post(matrix(), "expect: 100-continue"),),
    "upgrade": (post(matrix(), "connection: upgrade", "upgrade: h2c"),),
    "too large": (post(b" " * 20_001),),
    "in two pieces": (post(matrix())[:-20], post(matrix())[-20:]),
    "in a head and a body": (post(matrix()).partition(b"{")[0], json.dumps(matrix()).encode()),
    "another model": (post(matrix(), path="/v2/models/wine/infer"),),
    "the older protocol": (post({"instances": [ROW]}, path="/v1/models/iris:predict"),),
    "no POST": (f"GET {PATH} HTTP/1.1\r\nhost: a\r\n\r\n".encode(),),
}


@pytest.fixture(scope="module")
def model(iris: Path) -> ServedModel:
    return ServedModel(name="iris", revision="iris-1", bundle=load(open_source(iris / "bundle"), trust=AnySigner()))


@pytest.fixture
async def ways(model: ServedModel, feedback_keys: Path) -> AsyncIterator[tuple[Way, Way]]:
    """The short way and the long one."""
    ring = KeyRing(feedback_keys)
    short, long = Way(model, ring, is_direct=True), Way(model, ring, is_direct=False)
    for way in (short, long):
        await way.open()
    yield short, long
    for way in (short, long):
        await way.close()


@pytest.mark.parametrize("name", [*DIRECT, *OTHERWISE])
async def test_both_ways_give_the_same_bytes_and_count_the_same(name: str, ways: tuple[Way, Way]) -> None:
    short, long = ways
    pieces = DIRECT.get(name) or OTHERWISE[name]

    heard, expected = await short.say(*pieces), await long.say(*pieces)

    assert heard == expected
    assert short.counted() == long.counted()
    assert short.direct.taken == (len(pieces) if name in DIRECT else 0)


async def test_requests_in_one_piece_are_answered_in_their_order(ways: tuple[Way, Way]) -> None:
    pieces = b"".join(post({"id": str(n), **matrix()}) for n in range(40))

    heard, expected = [await way.say(pieces) for way in ways]

    assert heard == expected
    assert re.findall(rb'"id":"(\d+)"', heard) == [str(n).encode() for n in range(40)]
    assert ways[0].direct.taken == 1  # the others waited in uvicorn's queue


@pytest.mark.parametrize(
    ("path", "length", "status"),
    [(PATH, 10**9, 413), ("/v2/models/wine/infer", 9, 404)],
    ids=["too large", "elsewhere"],
)
async def test_nobody_is_asked_for_a_body_that_would_be_refused(
    path: str, length: int, status: int, ways: tuple[Way, Way]
) -> None:
    lines = [f"POST {path} HTTP/1.1", "host: a", f"content-length: {length}", "expect: 100-continue", "", ""]

    heard = await ways[0].say("\r\n".join(lines).encode(), is_all=False)

    assert heard.startswith(f"HTTP/1.1 {status} ".encode())
    assert heard.count(b"HTTP/1.1") == 1
    assert b"connection: close" in heard


@pytest.mark.parametrize("endless", [b"0\r\nx-a: ", b"5;x="], ids=["header behind the body", "name of a chunk"])
async def test_what_never_ends_inside_of_a_body_is_refused(endless: bytes, ways: tuple[Way, Way]) -> None:
    began = CHUNKED.removesuffix(b"0\r\n\r\n") + endless

    for way in ways:
        answer = await way.say(began, b"a" * 70_000, b"a" * 70_000, is_all=False)

        assert answer.startswith(b"HTTP/1.1 431 ")
        assert answer.count(b"HTTP/1.1") == 1


async def test_a_body_in_many_small_chunks_is_no_endless_one(ways: tuple[Way, Way]) -> None:
    body = json.dumps(matrix()).encode()
    head = CHUNKED[: CHUNKED.index(b"\r\n\r\n") + 4]
    names = b";x=" + b"y" * 40_000
    pieces = [b"%x%b\r\n%b\r\n" % (len(part), names, part) for part in (body, *[b" "] * 6)]

    for way in ways:
        assert (await way.say(head, *pieces, b"0\r\n\r\n")).startswith(b"HTTP/1.1 200 ")


async def test_a_read_full_of_requests_that_ends_in_a_head_is_no_endless_head(ways: tuple[Way, Way]) -> None:
    request, (near, far) = post(matrix([ROW] * 64)), socket.socketpair()
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**20)
    count = 140_000 // len(request)
    near.sendall(request * count + request[:60])  # there before the server looks, so that it comes in one read

    await asyncio.get_running_loop().connect_accepted_socket(ways[0].listener._make, far)
    reader, writer = await asyncio.open_connection(sock=near)
    writer.write(request[60:])
    writer.write_eof()

    assert (await asyncio.wait_for(reader.read(), 20)).count(b"HTTP/1.1 200 OK") == count + 1
    writer.close()


async def test_a_request_behind_the_last_answer_is_neither_predicted_nor_counted(ways: tuple[Way, Way]) -> None:
    for way in ways:
        way.lifecycle.phase = Phase.DRAINING  # every answer is its connection's last

        heard = await way.say(post(matrix(datatype="FP99")) + post(matrix()), is_all=False)

        assert heard.count(b"HTTP/1.1") == 1
        assert 'model_rows_total{model="iris",revision="iris-1"} 0.0' in way.counted()


async def test_a_bad_request_harms_no_neighbour_in_its_batch(ways: tuple[Way, Way]) -> None:
    short, _ = ways
    good, bad = post(matrix(), "connection: close"), post(matrix(data=[1e308] * 4), "connection: close")

    heard = await asyncio.gather(*(short.say(bad if n % 5 == 2 else good) for n in range(20)))

    statuses = [int(answer.split()[1]) for answer in heard]
    assert statuses == [400 if n % 5 == 2 else 200 for n in range(20)]
    assert short.direct.taken == 20


async def test_a_reader_that_does_not_read_holds_up_nobody_and_loses_nothing(ways: tuple[Way, Way]) -> None:
    short, _ = ways
    reader, writer = await asyncio.open_connection("127.0.0.1", short.port, limit=2**10)
    for _ in range(1_500):
        writer.write(post(matrix([ROW] * 64)))
    writer.write(post(matrix(), "connection: close"))

    other = await asyncio.wait_for(short.say(post(matrix())), 10)
    found = await asyncio.wait_for(reader.read(), 30)

    assert other.startswith(b"HTTP/1.1 200 OK")
    assert found.count(b"HTTP/1.1 200 OK") == 1_501
    assert found.count(b'"shape":[64,3]') == 1_500
    writer.close()


async def test_both_ways_share_the_count_of_a_connection(model: ServedModel, feedback_keys: Path) -> None:
    way = Way(model, KeyRing(feedback_keys), is_direct=True, rules=Connections(requests=3, age_s=1e9))
    await way.open()

    heard = await way.say(post(matrix()), post(matrix(), "x-request-deadline-ms: 5000"), post(matrix()))

    assert heard.count(b"HTTP/1.1 200 OK") == 3
    assert heard.count(b"connection: close") == 1
    assert heard.rindex(b"connection: close") > heard.rindex(b"HTTP/1.1 200 OK")
    assert way.direct.taken == 2
    await way.close()


async def test_tokens_of_a_batch_are_each_their_own(ways: tuple[Way, Way]) -> None:
    short, _ = ways
    readers = [await asyncio.open_connection("127.0.0.1", short.port) for _ in range(30)]
    for _, writer in readers:
        writer.write(post(matrix(), "connection: close"))

    heard = [await reader.read() for reader, _ in readers]

    tokens = {found[0] for found in map(_TOKEN.findall, heard)}
    assert len(tokens) == 30
    probabilities = {json.loads(answer.partition(b"\r\n\r\n")[2])["outputs"][1]["data"][0] for answer in heard}
    assert np.ptp(list(probabilities)) < 1e-12
    for _, writer in readers:
        writer.close()
