"""A snapshot as Prometheus reads it. Pure: one snapshot in, one page out, integers exact.

Revisions are shown from the one announced last, as many as the series budget holds and never fewer than three. Where
those three alone are more than that, nothing a gate reads is withheld: the log names what can be switched off.
"""

from collections.abc import Callable, Iterator
from typing import Final

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from pilotage_server.feedback.collector.families import (
    COHORTS,
    CONFUSION,
    FEEDBACK,
    SCORE_OUTCOMES,
    SLICES,
    Lines,
    families,
    results,
)
from pilotage_server.feedback.collector.measures import QUALITY, quality_families
from pilotage_server.feedback.collector.settings import CollectorConfig, Omit
from pilotage_server.feedback.collector.snapshot import PAIR_OUTCOMES, RevisionCounts, Snapshot, newest
from pilotage_server.feedback.collector.text import Family, Kind, labelled, page
from pilotage_server.feedback.results import OTHER_REVISION, Result

SERIES_BUDGET: Final = 10_000
"""Series of all revisions together; older revisions give way to newer ones."""
ALWAYS_SHOWN: Final = 3
"""Stable, canary and the stable before: shown whatever they cost."""
PAIRS: Final = Family(
    "pilotage_matured_pairs",
    Kind.COUNTER,
    "Matured labels of requests a shadow answered too: canary right (first digit) by stable right (second).",
)
DELAY: Final = Family("pilotage_label_delay_seconds", Kind.GAUGE, "Age at which the label of a prediction is counted.")
UNTIL: Final = Family(
    "pilotage_ledger_committed_until_seconds",
    Kind.GAUGE,
    "Unix time up to which every stored label that had matured is in this scrape's counters.",
)
_OMITTED_AS: Final = {
    QUALITY: Omit.QUALITY,
    COHORTS: Omit.COHORTS,
    CONFUSION: Omit.CONFUSION,
    SCORE_OUTCOMES: Omit.SCORES,
    SLICES: Omit.SLICES,
}
_log = structlog.get_logger(__name__)


class Exposition:
    """The page of `/metrics`: exactly one snapshot, as the configuration of the moment asks for, and the process.

    `process`: what else is to be on the page.
    """

    def __init__(
        self,
        config: Callable[[], CollectorConfig],
        current: Callable[[], Snapshot],
        process: CollectorRegistry | None = None,
    ) -> None:
        self._config = config
        self._current = current
        self._process = process or CollectorRegistry(auto_describe=False)
        self._told: tuple[str, ...] = ()

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """The page and its content type, in the format that the `Accept` header prefers."""
        encode, content_type = choose_encoder(accept)
        config, snapshot = self._config(), self._current()
        found: dict[Family, Lines] = {}
        shown: list[RevisionCounts] = []
        series = 0
        for counts in newest(snapshot.revisions):
            mine = dict(_revision(counts, snapshot, config))
            series += sum(map(len, mine.values()))
            if series > SERIES_BUDGET and len(shown) >= ALWAYS_SHOWN:
                break
            if series > SERIES_BUDGET:
                self._warn(counts, series, mine)
            shown.append(counts)
            for family, lines in mine.items():
                found.setdefault(family, []).extend(lines)
        found |= _common(snapshot, config, shown)
        text = page(found, is_openmetrics="openmetrics" in content_type)
        return text.encode() + encode(self._process), content_type

    def _warn(self, counts: RevisionCounts, series: int, mine: dict[Family, Lines]) -> None:
        if counts.revision in self._told:
            return
        self._told = (*self._told, counts.revision)[-ALWAYS_SHOWN:]
        can_go = {_OMITTED_AS[family]: len(lines) for family, lines in mine.items() if family in _OMITTED_AS and lines}
        remedy = [word.value for word in sorted(can_go, key=can_go.__getitem__, reverse=True)]
        _log.error(
            "collector.too_many_series",
            revision=counts.revision,
            series=series,
            budget=SERIES_BUDGET,
            remedy="leave out what nobody reads: spec.feedback.omit, which is omit in collector.json",
            omit=remedy,
        )


def _revision(counts: RevisionCounts, snapshot: Snapshot, config: CollectorConfig) -> Iterator[tuple[Family, Lines]]:
    base = labelled(ledger=snapshot.ledger, model=config.model, revision=counts.revision)
    yield from families(counts, base, config, snapshot.label_delay_ms)
    if counts.window is not None and not config.omits(Omit.QUALITY):
        yield from quality_families(counts, counts.window, base)


def _common(snapshot: Snapshot, config: CollectorConfig, shown: list[RevisionCounts]) -> dict[Family, Lines]:
    """What belongs to no single revision."""
    of_ledger = labelled(ledger=snapshot.ledger, model=config.model)
    names = {counts.revision for counts in shown}
    pairs = sorted({key[:2] for key in snapshot.pairs if names.issuperset(key[:2])})
    return {
        PAIRS: [
            PAIRS.line(
                f"{of_ledger},{labelled(stable=stable, canary=canary, outcome=outcome)}",
                snapshot.pairs.get((stable, canary, outcome), 0),
            )
            for stable, canary in pairs
            for outcome in PAIR_OUTCOMES
        ],
        DELAY: [DELAY.line(of_ledger, snapshot.label_delay_ms / 1000)],
        UNTIL: [UNTIL.line(of_ledger, snapshot.counted_until_ms / 1000)],
        FEEDBACK: [line for counts in shown for line in results(counts, config.model)]
        + [
            FEEDBACK.line(
                labelled(model=config.model, revision=OTHER_REVISION, result=result.value), snapshot.others[result]
            )
            for result in Result
        ],
    }
