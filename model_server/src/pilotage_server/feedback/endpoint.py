"""`POST /v2/models/<model>/feedback`: body in, status and body out. ASGI belongs to `serve`.

Invariant: 200 means every item has its final answer, and each `accepted` one is on a collector's disk. When the
collector cannot take the labels, nothing is answered item by item: 503, `Retry-After`, and the client posts the same
request again; what had been stored meanwhile comes back as `duplicate`.
"""

import asyncio
import math
from collections.abc import Sequence
from typing import Any, Final

import orjson

from pilotage_server.feedback.classes import Identity
from pilotage_server.feedback.credentials import Budget, Credentials
from pilotage_server.feedback.forwarder import Forwarder
from pilotage_server.feedback.items import MAX_ITEMS, Answer, Judge, Refused, answer_of, read_request, written
from pilotage_server.feedback.keys import KeyRing
from pilotage_server.feedback.link import CollectorUnavailable
from pilotage_server.feedback.messages import Item
from pilotage_server.feedback.relay import Relay
from pilotage_server.feedback.results import Result
from pilotage_server.feedback.settings import DEFAULT_RATE
from pilotage_server.feedback.tally import EndpointTally, Turned

JSON_HEADERS: Final = ((b"content-type", b"application/json"),)
AT_ONCE: Final = 100

Headers = Sequence[tuple[bytes, bytes]]
Response = tuple[int, Headers, bytes]


class FeedbackEndpoint:
    """Answers feedback requests. Register `tally` with Prometheus."""

    def __init__(
        self,
        identity: Identity,
        ring: KeyRing,
        forwarder: Forwarder,
        *,
        credentials: Credentials | None = None,
        budget: Budget | None = None,
        relay: Relay | None = None,
    ) -> None:
        self._identity = identity
        self._ring = ring
        self._forwarder = forwarder
        self._credentials = credentials or Credentials(None)
        self._budget = budget or Budget(DEFAULT_RATE, most_at_once=MAX_ITEMS)
        self._relay = relay or Relay(identity.model, dict)
        self.tally = EndpointTally(identity, lambda: self._credentials.identities)

    async def handle(self, body: bytes, authorization: bytes | None = None) -> Response:
        """Status, headers and body for one request. Never raises for what a client sent."""
        poster = self._credentials.identify(authorization)
        if poster is None:
            self.tally.unauthorized += 1
            challenge = (b"www-authenticate", b'Bearer realm="feedback"')
            return _failure(401, "authorization: send the bearer token this cluster gave you for feedback", challenge)
        try:
            posted = read_request(body)
        except Refused as error:
            return _failure(error.status, str(error))
        wait_s = self._budget.take(poster, len(posted))
        if wait_s:
            self.tally.turn_away(poster, Turned.LIMITED, len(posted))
            after = (b"retry-after", b"%d" % math.ceil(wait_s))
            return _failure(429, f"more items than {poster} may post here; post them again in {wait_s:.1f} s", after)
        judged = await self._judge(posted)
        items = [entry for entry in judged if isinstance(entry, Item)]
        try:
            results = await self._forwarder.submit(items) if items else []
        except CollectorUnavailable as error:
            self.tally.turn_away(poster, Turned.UNAVAILABLE, len(posted))
            text = f"the collector cannot take labels now ({error}); post the same request again"
            return _failure(503, text, (b"retry-after", str(error.retry_after_s).encode()))
        answers = await self._answers(posted, judged, results)
        self.tally.count_for(poster, [answer["result"] for answer in answers])
        return 200, JSON_HEADERS, orjson.dumps({"results": answers})

    async def _judge(self, posted: list[Any]) -> list[Item | Answer]:
        judge = Judge(self._ring, self._identity)
        judged: list[Item | Answer] = []
        for start in range(0, len(posted), AT_ONCE):
            judged += judge.judge(posted[start : start + AT_ONCE])
            await asyncio.sleep(0)  # predictions must not wait for a thousand signatures
        return judged

    async def _answers(
        self, posted: list[Any], judged: Sequence[Item | Answer], results: Sequence[Result]
    ) -> list[dict[str, Any]]:
        decided = iter(results)
        answers: list[dict[str, Any]] = []
        strays: dict[str, list[int]] = {}
        for position, entry in enumerate(judged):
            if isinstance(entry, Item):
                answers.append(written(answer_of(next(decided), entry.revision)))
                continue
            if entry.result is Result.WRONG_CLUSTER and self._relay.knows(entry.cluster):
                strays.setdefault(entry.cluster, []).append(position)
            else:
                self.tally.refuse(entry)
            answers.append(written(entry))
        for cluster, positions in strays.items():
            relayed = await self._relay.hand_on(cluster, [posted[position] for position in positions])
            for at, position in enumerate(positions):
                if isinstance(relayed, str):
                    self.tally.refuse(judged[position])
                    answers[position]["reason"] += f"; {relayed}"
                else:
                    answers[position] = relayed[at]
        return answers


def _failure(status: int, text: str, *headers: tuple[bytes, bytes]) -> Response:
    return status, (*JSON_HEADERS, *headers), orjson.dumps({"error": text})
