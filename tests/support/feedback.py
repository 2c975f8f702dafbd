"""Builders for the feedback chain: keys, identities, labels, and a real collector in this process."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import orjson
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from pilotage_server.feedback import CollectorAddress, CollectorLink, FeedbackEndpoint, Forwarder, Identity, KeyRing
from pilotage_server.feedback.collector.exposition import Exposition
from pilotage_server.feedback.collector.ledger import Ledger
from pilotage_server.feedback.collector.service import Service
from pilotage_server.feedback.collector.settings import ConfigFile
from pilotage_server.feedback.collector.writer import Writer
from pilotage_server.feedback.messages import Announcement, Delivery, Item
from pilotage_server.feedback.probabilities import encoder
from pilotage_server.feedback.token import Token, open_token
from pilotage_server.quality.slices import Slice

CLASSES = ("cat", "dog", "eel")
REVISION = "pets-0a1b2c3d4e"
START_S = 1_800_000_000.0


@dataclass
class Clock:
    """Wall time that moves when the test says so, in s."""

    now: float = START_S

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class MonotonicClock:
    """Monotonic time that moves when the test says so, in s."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def an_identity(
    *, model: str = "pets", revision: str = REVISION, cluster: str = "aws", classes: Sequence[str] = CLASSES
) -> Identity:
    return Identity(model=model, revision=revision, cluster=cluster, classes=tuple(classes))


def key_dir(at: Path, **keys: bytes) -> Path:
    """A key folder; `k1` of fixed bytes unless named otherwise."""
    at.mkdir(parents=True, exist_ok=True)
    for name, secret in (keys or {"k1": b"1" * 32}).items():
        (at / name).write_bytes(secret)
    return at


def an_item(
    *,
    issued_ms: int,
    nonce: int = 1,
    label: str = "cat",
    predicted: int = 0,
    rows: int = 1,
    row: int = 0,
    revision: str = REVISION,
    audit: bool = False,
    probabilities: Sequence[float] = (),
    request: bytes = b"",
    slices: bytes = b"",
) -> Item:
    """One label as a pod hands it over; `probabilities` one per class of three or more."""
    encoded = encoder(len(probabilities))(np.array([probabilities])) if probabilities else b""
    return Item(
        *(revision, issued_ms, f"{nonce:016x}", rows, row, predicted, label),
        *(int(audit), encoded.hex(), request.hex(), slices.hex()),
    )


def opened(token: Any, ring: KeyRing) -> Token:
    """A token whose signature holds."""
    found = open_token(token, ring)
    assert isinstance(found, Token)
    return found


def a_delivery(*items: Item, sender: str = REVISION) -> Delivery:
    return Delivery(model="pets", sender=sender, items=items)


def an_announcement(
    *,
    revision: str = REVISION,
    classes: Sequence[str] = CLASSES,
    slices: Sequence[Slice] = (),
    costs: Sequence[Sequence[float]] = (),
) -> Announcement:
    return Announcement(
        model="pets",
        revision=revision,
        classes=tuple(classes),
        slices=tuple(slices),
        costs=tuple(tuple(map(float, row)) for row in costs),
    )


def config_file(at: Path, *, label_delay_s: float = 60.0, **fields: Any) -> Path:
    document = {"model": "pets", "namespace": "models", "cluster": "aws", "labelDelaySeconds": label_delay_s}
    at.write_bytes(orjson.dumps(document | fields))
    return at


@dataclass
class RunningCollector:
    """A collector of this process: its ports, and what it shows."""

    port: int
    admin_port: int
    service: Service
    writer: Writer
    clock: Clock
    ring: KeyRing
    _endpoints: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def address(self) -> CollectorAddress:
        return CollectorAddress(host="127.0.0.1", port=self.port)

    async def get(self, path: str, **headers: str) -> tuple[int, bytes]:
        url = f"http://127.0.0.1:{self.admin_port}{path}"
        async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
            return response.status, await response.read()

    async def quality(self) -> dict[str, Any]:
        _, body = await self.get("/quality")
        document: dict[str, Any] = orjson.loads(body)
        return document

    async def matured(self) -> None:
        """Wait until a committed state as of the clock's now is shown."""
        await eventually(lambda: self.writer.snapshot.counted_until_ms >= int(self.clock.now * 1000))

    def forwarder(self, identity: Identity) -> tuple[Forwarder, CollectorLink]:
        link = CollectorLink(self.address, self.ring, clock=self.clock)
        return Forwarder(identity, link), link


@contextlib.asynccontextmanager
async def a_collector(
    folder: Path, clock: Clock, *, label_delay_s: float = 60.0, port: int = 0, **config_fields: Any
) -> AsyncIterator[RunningCollector]:
    """A collector over `folder` (its volume, keys and config) that lives in this event loop."""
    ring = KeyRing(key_dir(folder / "keys") if not (folder / "keys").exists() else folder / "keys")
    config = ConfigFile(config_file(folder / "collector.json", label_delay_s=label_delay_s, **config_fields))
    ledger = Ledger(folder / "ledger.sqlite3", now_ms=int(clock.now * 1000), delay_ms=round(label_delay_s * 1000))
    writer = Writer(ledger, config, clock=clock)
    exposition = Exposition(lambda: config.current, lambda: writer.snapshot)
    service = Service(writer, ring, config, exposition, clock=clock)
    writing = asyncio.create_task(writer.run())
    async with contextlib.AsyncExitStack() as stack:
        ports = []
        for application, wanted in ((service.messages(), port), (service.admin(), 0)):
            runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", wanted).start()
            ports.append(runner.addresses[0][1])
        await eventually(lambda: writer.is_healthy)
        yield RunningCollector(
            port=ports[0], admin_port=ports[1], service=service, writer=writer, clock=clock, ring=ring
        )
        writer.drain()
        await writing


@contextlib.asynccontextmanager
async def an_endpoint(
    identity: Identity, ring: KeyRing, address: CollectorAddress, clock: Callable[[], float]
) -> AsyncIterator[FeedbackEndpoint]:
    """A pod's feedback endpoint whose forwarder runs as long as the block."""
    forwarder = Forwarder(identity, CollectorLink(address, ring, clock=clock))
    running = asyncio.create_task(forwarder.run())
    try:
        yield FeedbackEndpoint(identity, ring, forwarder)
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def post(endpoint: FeedbackEndpoint, *items: Any) -> list[dict[str, Any]]:
    """The answers to these items; fails unless the request was answered 200."""
    status, _, body = await endpoint.handle(orjson.dumps({"feedback": items}))
    assert status == 200, body
    answers: list[dict[str, Any]] = orjson.loads(body)["results"]
    return answers


async def eventually(holds: Callable[[], bool], *, within_s: float = 10.0) -> None:
    """Wait until the claim holds; fails with a timeout if it never does."""
    async with asyncio.timeout(within_s):
        while not holds():  # noqa: ASYNC110 the claim is about another process or thread
            await asyncio.sleep(0.01)


Series = tuple[str, frozenset[tuple[str, str]]]


def samples(exposition: bytes) -> dict[Series, float]:
    """Every sample of a Prometheus text by (name, labels)."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(exposition.decode())
        for sample in family.samples
    }


def total(read: dict[Series, float], name: str, **labels: str) -> float:
    """The sum of a metric's samples that carry these labels; fails when there is none."""
    wanted = set(labels.items())
    found = [value for (series, has), value in read.items() if series == name and wanted <= has]
    assert found, f"no {name}{labels} in the scrape"
    return sum(found)
