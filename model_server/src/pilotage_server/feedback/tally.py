"""What a pod's feedback endpoint counts: items it refused by itself, and what each identity posted.

`model_feedback_total` of pods counts items that never reached a collector, that of collectors the others: their sum
counts every item once. Every series exists from the start, and none is named by what a client sent.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from typing import Final

from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from pilotage_server.feedback.classes import Identity
from pilotage_server.feedback.items import Answer
from pilotage_server.feedback.messages import Item
from pilotage_server.feedback.results import OTHER_REVISION, Result

DECIDED_HERE: Final = (Result.MALFORMED, Result.BAD_SIGNATURE, Result.WRONG_CLUSTER, Result.UNKNOWN_LABEL)


class Turned(StrEnum):
    """Items of requests that were answered as a whole."""

    LIMITED = "limited"
    UNAVAILABLE = "unavailable"


class EndpointTally(Collector):
    """The counters of one endpoint."""

    def __init__(self, identity: Identity, identities: Callable[[], Sequence[str]]) -> None:
        self._identity = identity
        self._identities = identities
        self._refused: Counter[tuple[str, Result]] = Counter()
        self._posted: Counter[tuple[str, str]] = Counter()
        self.unauthorized = 0
        """Requests without a known credential."""

    def refuse(self, entry: Answer | Item) -> None:
        """Count an item this pod decided."""
        if isinstance(entry, Answer):
            own = self._identity.revision
            self._refused[own if entry.revision == own else OTHER_REVISION, entry.result] += 1

    def count_for(self, poster: str, results: Sequence[str]) -> None:
        """Count what an identity was told, item by item."""
        for result, items in Counter(results).items():
            self._posted[poster, result] += items

    def turn_away(self, poster: str, turned: Turned, items: int) -> None:
        """Count items of a request that was not judged, or not stored."""
        self._posted[poster, turned.value] += items

    def collect(self) -> Iterable[Metric]:
        """All families."""
        model = self._identity.model
        family = CounterMetricFamily(
            "model_feedback", "Feedback items by result.", labels=("model", "revision", "result")
        )
        for revision in (self._identity.revision, OTHER_REVISION):
            for result in DECIDED_HERE:
                family.add_metric((model, revision, result.value), self._refused[revision, result])
        yield family
        family = CounterMetricFamily(
            "model_feedback_posted",
            "Feedback items by who posted them and what they were told.",
            labels=("model", "identity", "result"),
        )
        for identity in self._identities():
            for word in (*Result, *Turned):
                family.add_metric((model, identity, word.value), self._posted[identity, word.value])
        yield family
        family = CounterMetricFamily(
            "model_feedback_unauthorized", "Feedback requests without a known credential.", labels=("model",)
        )
        family.add_metric((model,), self.unauthorized)
        yield family
