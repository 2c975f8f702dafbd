"""Targets of the feedback chain: posted bodies, tokens, and the messages between pods and the collector."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson

from benchmarks.fuzz.target import Finding, Target
from pilotage_server.feedback import (
    CollectorAddress,
    CollectorLink,
    FeedbackEndpoint,
    Forwarder,
    Identity,
    KeyRing,
    Result,
    TokenSigner,
    Unreadable,
    open_token,
)
from pilotage_server.feedback.announcing import read_announcement, write_announcement
from pilotage_server.feedback.collector.ledger import Ledger
from pilotage_server.feedback.items import Judge, Place, read_request
from pilotage_server.feedback.items import Refused as ItemsRefused
from pilotage_server.feedback.messages import Announcement, Decision, Decisions, Delivery, Item
from pilotage_server.feedback.token import Forged
from pilotage_server.feedback.wire import (
    Incomprehensible,
    read_decisions,
    read_delivery,
    read_question,
    read_relayed,
    read_results,
    write_decisions,
    write_delivery,
    write_question,
)

NOW_S: Final = 1_800_000_000.0
NOW_MS: Final = int(NOW_S * 1000)
DELAY_MS: Final = 60_000
IDENTITY: Final = Identity(model="pets", revision="pets-0a1b2c3d4e", cluster="aws", classes=("cat", "dog", "eel"))
MAC_BYTES: Final = 16
ONE_LEDGER: Final = 20_000
"""Messages one ledger takes before the next begins: a fuzzer's memory must not grow with its runs."""


class _Desk(Forwarder):
    """Stands where the collector would, and takes everything."""

    async def submit(self, items: Sequence[Item]) -> list[Result]:
        return [Result.ACCEPTED for _ in items]


def feedback(run: Path) -> Target:
    """The body of a feedback request."""
    ring = _ring(run)
    desk = _Desk(IDENTITY, CollectorLink(CollectorAddress(host="127.0.0.1", port=9), ring))
    endpoint = FeedbackEndpoint(IDENTITY, ring, desk)
    loop = asyncio.new_event_loop()

    def take(data: bytes) -> None:
        status, _, answer = loop.run_until_complete(endpoint.handle(data))
        if status not in (200, 400, 413, 429) or not isinstance(orjson.loads(answer), dict):
            raise Finding(f"{status} {answer[:200]!r}")

    items: list[dict[str, Any]] = [{"token": text, "row": 1, "label": "dog"} for text in _tokens(ring)]
    items += [{"token": "x", "label": 1.5, "row": "0"}]
    return Target(seeds=[orjson.dumps({"feedback": items}), orjson.dumps({"feedback": items[:1]})], take=take)


def token(run: Path) -> Target:
    """A token's text as it was sent, and the same bytes signed: only a holder of the key could send those."""
    ring = _ring(run)

    def take(data: bytes) -> None:
        for text in (data.decode("latin-1"), _text(data + ring.signing.mac(data)[:MAC_BYTES])):
            with contextlib.suppress(Unreadable):
                found = open_token(text, ring)
                for row in range(0 if isinstance(found, Forged) else min(found.rows, 4)):
                    posted = [{"token": text, "row": row, "label": "cat"}]
                    Judge(ring, IDENTITY).judge(posted)
                    Judge(ring, Place(cluster="aws")).judge(posted)

    texts = _tokens(ring)
    return Target(seeds=[*map(str.encode, texts), *(_bytes(text)[:-MAC_BYTES] for text in texts)], take=take)


def messages(run: Path) -> Target:
    """A message to or from the collector: one byte says which, the rest is its body; what can be read is applied."""
    seeds = _messages()
    readers: list[Callable[[bytes], object]] = [
        *(read_announcement, read_delivery, read_decisions, read_question),
        *(lambda body: read_results(body, 1), lambda body: read_relayed(body, 1), read_request),
    ]
    ledgers = _Ledgers(run.parent)

    def take(data: bytes) -> None:
        with contextlib.suppress(Incomprehensible, ItemsRefused):
            read = readers[data[0] % len(readers)] if data else read_announcement
            work = read(data[1:])
            if isinstance(work, Announcement | Delivery | Decisions):
                ledgers.apply(work)

    return Target(seeds=[bytes([number % len(readers)]) + seed for number, seed in enumerate(seeds)], take=take)


class _Ledgers:
    """A ledger that knows one revision, made anew now and then."""

    def __init__(self, folder: Path) -> None:
        self._taken = 0
        self._folder = folder / "ledgers"
        self._open()

    def apply(self, work: Announcement | Delivery | Decisions) -> None:
        """Apply one message, and let what it brought mature."""
        self._taken += 1
        if self._taken % ONE_LEDGER == 0:
            self._ledger.close()
            self._open()
        now = max(NOW_MS, self._ledger.snapshot.counted_until_ms + 1)
        self._ledger.apply([work], now_ms=now, delay_ms=DELAY_MS, keeps_scores=True)
        if self._taken % 50 == 0:
            self._ledger.apply([], now_ms=now + 2 * DELAY_MS, delay_ms=DELAY_MS, keeps_scores=True)

    def _open(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir()
        self._ledger = Ledger(self._folder / "ledger", now_ms=NOW_MS, delay_ms=DELAY_MS)
        known = Announcement(model="pets", revision=IDENTITY.revision, classes=IDENTITY.classes, slices=(), costs=())
        self._ledger.apply([known], now_ms=NOW_MS, delay_ms=DELAY_MS)


def _messages() -> list[bytes]:
    costs = tuple(tuple(float(i != j) for j in range(3)) for i in range(3))
    label = Item(IDENTITY.revision, NOW_MS, f"{1:016x}", 2, 1, 0, "cat", 0, "", "", "")
    audited = Item(IDENTITY.revision, NOW_MS, f"{2:016x}", 1, 0, 2, "dog", 1, "101020", f"{7:016x}", "01")
    return [
        write_announcement(
            Announcement(model="pets", revision="pets-1", classes=IDENTITY.classes, slices=(), costs=costs)
        ),
        write_delivery(Delivery(model="pets", sender=IDENTITY.revision, items=(label, audited))),
        write_decisions(
            Decisions(
                model="pets",
                sender=IDENTITY.revision,
                decisions=(Decision(request=f"{7:016x}", at_ms=NOW_MS, predicted="00"),),
            )
        ),
        write_question("pets"),
        orjson.dumps({"results": ["accepted"]}),
        orjson.dumps({"results": [{"result": "accepted", "revision": IDENTITY.revision}]}),
        orjson.dumps({"feedback": [{"token": "x", "row": 0, "label": "cat"}]}),
    ]


def _ring(run: Path) -> KeyRing:
    folder = run.parent / "feedback"
    folder.mkdir(exist_ok=True)
    (folder / "k1").write_bytes(b"1" * 32)
    return KeyRing(folder)


def _tokens(ring: KeyRing) -> list[str]:
    chances = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]])
    plain, audited = TokenSigner(ring, IDENTITY), TokenSigner(ring, IDENTITY, audit_rate=1.0)
    sealed = TokenSigner(ring, IDENTITY, sealed=True)
    return [
        plain.sign([0, 1], None, NOW_S),
        *(signer.sign([0, 1], chances, NOW_S) for signer in (plain, audited, sealed)),
    ]


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
