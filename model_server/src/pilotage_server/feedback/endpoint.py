"""`POST /v2/models/<model>/feedback`: body in, status and body out. ASGI belongs to `serve`.

Invariant: 200 means every item has its final answer, and each `accepted` one is on the collector's disk. When the
collector cannot take the labels, nothing is answered item by item: 503, `Retry-After`, and the client posts the same
request again; what had been stored meanwhile comes back as `duplicate`.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

import orjson
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from pilotage_server.feedback.classes import Identity
from pilotage_server.feedback.forwarder import Forwarder
from pilotage_server.feedback.items import Answer, Judge, Refused, answer_of, read_request
from pilotage_server.feedback.keys import KeyRing
from pilotage_server.feedback.link import CollectorUnavailable
from pilotage_server.feedback.results import OTHER_REVISION, Result
from pilotage_server.feedback.wire import Item

JSON_HEADERS: Final = ((b"content-type", b"application/json"),)
AT_ONCE: Final = 100
DECIDED_HERE: Final = (Result.MALFORMED, Result.BAD_SIGNATURE, Result.WRONG_CLUSTER, Result.UNKNOWN_LABEL)

Headers = Sequence[tuple[bytes, bytes]]
Response = tuple[int, Headers, bytes]


class FeedbackEndpoint(Collector):
    """Answers feedback requests; as a Prometheus collector it exports the items it refused by itself.

    `model_feedback_total` of pods counts items that never reached the collector, that of the collector the others:
    their sum counts every item once.
    """

    def __init__(self, identity: Identity, ring: KeyRing, forwarder: Forwarder) -> None:
        self._identity = identity
        self._ring = ring
        self._forwarder = forwarder
        self._refused: Counter[tuple[str, Result]] = Counter()

    async def handle(self, body: bytes) -> Response:
        """Status, headers and body for one request. Never raises for what a client sent."""
        try:
            posted = read_request(body)
        except Refused as error:
            return error.status, JSON_HEADERS, orjson.dumps({"error": str(error)})
        judged = await self._judge(posted)
        items = [entry for entry in judged if isinstance(entry, Item)]
        try:
            results = await self._forwarder.submit(items) if items else []
        except CollectorUnavailable as error:
            headers = (*JSON_HEADERS, (b"retry-after", str(error.retry_after_s).encode()))
            text = f"the collector cannot take labels now ({error}); post the same request again"
            return 503, headers, orjson.dumps({"error": text})
        decided = iter(results)
        answers = [entry if isinstance(entry, Answer) else answer_of(next(decided), entry.revision) for entry in judged]
        for entry in judged:
            if isinstance(entry, Answer):
                self._refused[self._counted_as(entry.revision), entry.result] += 1
        return 200, JSON_HEADERS, orjson.dumps({"results": [_written(answer) for answer in answers]})

    async def _judge(self, posted: list[Any]) -> list[Item | Answer]:
        judge = Judge(self._ring, self._identity)
        judged: list[Item | Answer] = []
        for start in range(0, len(posted), AT_ONCE):
            judged += judge.judge(posted[start : start + AT_ONCE])
            await asyncio.sleep(0)  # predictions must not wait for a thousand signatures
        return judged

    def collect(self) -> Iterable[Metric]:
        """Items this pod refused; every series exists from the start."""
        family = CounterMetricFamily(
            "model_feedback", "Feedback items by result.", labels=("model", "revision", "result")
        )
        for revision in (self._identity.revision, OTHER_REVISION):
            for result in DECIDED_HERE:
                family.add_metric((self._identity.model, revision, result.value), self._refused[revision, result])
        yield family

    def _counted_as(self, revision: str) -> str:
        return self._identity.revision if revision == self._identity.revision else OTHER_REVISION


def _written(answer: Answer) -> dict[str, Any]:
    written: dict[str, Any] = {"result": answer.result.value}
    if answer.reason:
        written["reason"] = answer.reason
    if answer.cluster:
        written["cluster"] = answer.cluster
    return written
