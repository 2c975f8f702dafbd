"""Targets of the server: bodies through the whole application, and bytes through a whole connection."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import re
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from google.protobuf.message import DecodeError

from benchmarks.fuzz.target import Finding, Target
from pilotage_server.bundle.load import load
from pilotage_server.bundle.signature import AnySigner
from pilotage_server.bundle.source import open_folder
from pilotage_server.serve.app import DataApp
from pilotage_server.serve.errors import Rejected
from pilotage_server.serve.explain import Explainer
from pilotage_server.serve.infer import Signature
from pilotage_server.serve.inference import Inference
from pilotage_server.serve.lifecycle import Lifecycle, Phase
from pilotage_server.serve.listener import Listener
from pilotage_server.serve.metrics import ServerMetrics
from pilotage_server.serve.model import ServedModel, name_model
from pilotage_server.serve.rpc.codec import read_request
from pilotage_server.serve.rpc.messages import message
from pilotage_server.serve.settings import Connections, Limits, Pod

ROW: Final = [5.1, 3.5, 1.4, 0.2]
TURNS: Final = 40
"""Turns of the event loop a connection gets to answer before it is closed."""
_STATUS: Final = re.compile(rb"HTTP/1\.1 (\d{3})")
_GZIP: Final = (b"content-encoding", b"gzip")
_Headers = list[tuple[bytes, bytes]]


def infer(run: Path) -> Target:
    """A body: its first byte says how it is framed and where it goes."""
    loop = asyncio.new_event_loop()
    app, model = _app(run, loop)
    tensor = {"name": "input", "datatype": "FP64", "shape": [1, 4]}
    plain = json.dumps({"inputs": [{**tensor, "data": ROW}], "outputs": [{"name": "predict"}]}).encode()
    named = [
        {"name": feature.name, "datatype": "FP32", "shape": [1], "data": [1.5]}
        for feature in model.bundle.manifest.features
    ]
    binary = json.dumps({"inputs": [{**tensor, "parameters": {"binary_data_size": 32}}]}).encode()
    framed = len(binary).to_bytes(2, "big") + binary + struct.pack("<4d", *ROW)
    seeds = [b"\0" + plain, b"\0" + json.dumps({"id": "a", "inputs": named}).encode(), b"\1" + framed]
    seeds += [b"\2" + gzip.compress(plain, mtime=0), b"\3" + plain, b"\5" + plain]
    seeds += [b"\4" + json.dumps({"instances": [ROW, ROW]}).encode()]
    return Target(seeds=seeds, take=_taking_bodies(app, model.name, loop))


def table(run: Path) -> Target:
    """The same of a model with texts and gaps."""
    loop = asyncio.new_event_loop()
    app, model = _app(run.parent / "table", loop)
    cells: list[tuple[str, str, Any]] = [("colour", "BYTES", "pale"), ("size", "FP64", None), ("ripe", "BOOL", True)]
    named = [{"name": name, "datatype": kind, "shape": [1], "data": [cell]} for name, kind, cell in cells]
    by_place = {"name": "rows", "datatype": "BYTES", "shape": [1, 3], "data": ["deep", None, "true"]}
    codes = {"name": "rows", "datatype": "FP64", "shape": [1, 3], "data": [1, 2.5, 0]}
    packed = {"name": "rows", "datatype": "BYTES", "shape": [1, 3], "parameters": {"binary_data_size": 21}}
    binary = json.dumps({"inputs": [packed]}).encode()
    texts = b"".join(len(text).to_bytes(4, "little") + text for text in (b"deep", b"2.5", b"NA"))
    objects = {"instances": [{"colour": "pale", "size": None, "ripe": True}]}
    lists = {"instances": [["pale", 1.5, False]]}
    seeds = [b"\0" + json.dumps({"inputs": inputs}).encode() for inputs in (named, [by_place], [codes])]
    seeds += [b"\4" + json.dumps(instances).encode() for instances in (objects, lists)]
    seeds += [b"\1" + len(binary).to_bytes(2, "big") + binary + texts, b"\5" + seeds[0][1:]]
    return Target(seeds=seeds, take=_taking_bodies(app, model.name, loop))


def rpc(run: Path) -> Target:
    """A gRPC request, read as the server reads it."""
    made = message("ModelInferRequest")
    signatures = [Signature.of(_model(folder), Limits()) for folder in (run, run.parent / "table")]

    def take(data: bytes) -> None:
        with contextlib.suppress(Rejected, DecodeError):
            request = made.FromString(data[1:])
            read_request(request, signatures[data[0] % 2 if data else 0])

    typed, raw, texts = made(model_name="iris", id="a"), made(model_name="iris"), made(model_name="table")
    typed.inputs.add(name="x", datatype="FP64", shape=[1, 4]).contents.fp64_contents.extend(ROW)
    raw.inputs.add(name="x", datatype="FP32", shape=[1, 4])
    raw.raw_input_contents.append(struct.pack("<4f", *ROW))
    texts.inputs.add(name="colour", datatype="BYTES", shape=[1]).contents.bytes_contents.append(b"pale")
    texts.inputs.add(name="size", datatype="FP32", shape=[1]).contents.fp32_contents.append(float("nan"))
    texts.inputs.add(name="ripe", datatype="BOOL", shape=[1]).contents.bool_contents.append(True)
    seeds = [b"\0" + typed.SerializeToString(), b"\0" + raw.SerializeToString(), b"\1" + texts.SerializeToString()]
    return Target(seeds=seeds, take=take)


def http(run: Path) -> Target:
    """All that a client sends on one connection."""
    loop = asyncio.new_event_loop()
    app, model = _app(run, loop)
    rules = Connections(requests=100, age_s=1e9, idle_s=1e9)
    port = loop.run_until_complete(Listener(app, rules, direct=app.direct).start("127.0.0.1", 0))
    body = b'{"instances": [[5.1, 3.5, 1.4, 0.2]]}'
    post = f"POST /v1/models/{model.name}:predict HTTP/1.1\r\nhost: a\r\n".encode()
    whole = post + b"content-length: %d\r\n\r\n" % len(body) + body
    chunked = post + b"transfer-encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    get = b"GET /v2/health/live HTTP/1.1\r\nhost: a\r\n\r\n"

    def take(data: bytes) -> None:
        answered = loop.run_until_complete(_converse(loop, port, data))
        for status in _STATUS.findall(answered):
            if status >= b"500":
                raise Finding(answered[:400].decode("latin-1"))

    odd = post + b"expect: 100-continue\r\nupgrade: h2c\r\nconnection: upgrade\r\ncontent-length: 2\r\n\r\n{}"
    return Target(seeds=[whole + get, chunked + whole, get * 3, odd, b"HEAD / HTTP/1.0\r\n\r\n"], take=take)


def _taking_bodies(app: DataApp, name: str, loop: asyncio.AbstractEventLoop) -> Callable[[bytes], None]:
    base = f"/v2/models/{name}"

    def take(data: bytes) -> None:
        kind, body = data[0] % 6 if data else 0, data[1:]
        headers: _Headers = []
        path = f"{base}/infer"
        if kind == 1:
            headers = [(b"inference-header-content-length", str(int.from_bytes(body[:2], "big")).encode())]
            body = body[2:]
        elif kind in (2, 3):
            headers, body = [_GZIP], body if kind == 2 else gzip.compress(body, 1)
        elif kind == 4:
            path = f"/v1/models/{name}:predict"
        elif kind == 5:
            path = f"{base}/explain"
        loop.run_until_complete(_post(app, path, headers, body))

    return take


async def _post(app: DataApp, path: str, headers: _Headers, body: bytes) -> None:
    sent: list[Mapping[str, Any]] = []

    async def receive() -> Mapping[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Mapping[str, Any]) -> None:
        sent.append(message)

    await app({"type": "http", "method": "POST", "path": path, "headers": headers}, receive, send)
    status, answer = sent[0]["status"], sent[1]["body"]
    if status >= 500 or (status >= 400 and not json.loads(answer)["error"]):
        raise Finding(f"{status} {answer[:300]!r}")


async def _converse(loop: asyncio.AbstractEventLoop, port: int, data: bytes) -> bytes:
    with socket.socket() as client:
        client.setblocking(False)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # leave no port waiting
        await loop.sock_connect(client, ("127.0.0.1", port))
        await loop.sock_sendall(client, data)
        received: Sequence[bytes] = []
        for _ in range(TURNS):
            await asyncio.sleep(0)
        try:
            received = [client.recv(1 << 16)]
        except (BlockingIOError, ConnectionError):
            received = []
    for _ in range(3):
        await asyncio.sleep(0)
    return b"".join(received)


def _model(run: Path) -> ServedModel:
    pod = Pod(model="", revision="", cluster="here", collector_service="")
    return name_model(load(open_folder(run / "bundle"), trust=AnySigner()), pod)


def _app(run: Path, loop: asyncio.AbstractEventLoop) -> tuple[DataApp, ServedModel]:
    """The application as `serve` makes it, without feedback: that is a target of its own."""
    asyncio.set_event_loop(loop)
    model = _model(run)
    lifecycle = Lifecycle()
    lifecycle.phase = Phase.READY
    limits = Limits()
    metrics = ServerMetrics(model, lambda: inference.waiting_rows)
    inference = Inference(model.predict, metrics.observe_predictions, limits)
    explainer = Explainer(model)
    return DataApp(model, inference, metrics, lifecycle, limits=limits, feedback=None, explainer=explainer), model
