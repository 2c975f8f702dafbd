"""A collector and server pods as a scrape target shows them, each with the truth it counted.

Every test uses a model name of its own, so that all of them share one exporter and one Prometheus.
"""

from __future__ import annotations

from collections import defaultdict

from support.prometheus import Exporter

DELAY_S = 5.0
STABLE, CANARY = "digits-stable", "digits-canary"


class Collector:
    """One ledger of one model; `truth` is what was counted per revision and cell."""

    def __init__(self, exporter: Exporter, model: str, ledger: str = "l1", delay_s: float = DELAY_S) -> None:
        self.exporter, self.model, self.ledger = exporter, model, ledger
        self.truth: dict[str, dict[tuple[str, str], int]] = {STABLE: {}, CANARY: {}}
        exporter.set(self.series("pilotage_label_delay_seconds"), delay_s)
        for revision in self.truth:
            for actual in "ab":
                for predicted in "ab":
                    exporter.set(self.cell(revision, actual, predicted), 0)

    def cell(self, revision: str, actual: str, predicted: str) -> str:
        return self.of(revision, "pilotage_matured_labels_total", actual=actual, predicted=predicted)

    def of(self, revision: str, metric: str, **labels: str) -> str:
        """Any counter of a revision."""
        more = "".join(f',{name}="{value}"' for name, value in labels.items())
        return self.series(metric, f'revision="{revision}"{more}')

    def count(self, revision: str, actual: str, predicted: str, times: int = 1) -> None:
        cells = self.truth[revision]
        cells[actual, predicted] = cells.get((actual, predicted), 0) + times
        self.exporter.add(self.cell(revision, actual, predicted), times)

    def gone(self) -> None:
        self.exporter.drop(f'ledger="{self.ledger}",model="{self.model}"')

    def series(self, metric: str, more: str = "") -> str:
        return f'{metric}{{namespace="models",ledger="{self.ledger}",model="{self.model}"{"," + more if more else ""}}}'


class Pod:
    """One server pod; `truth`, shared by all pods of a test, is what they counted per revision, metric and label."""

    def __init__(self, exporter: Exporter, model: str, revision: str, name: str, truth: Truth) -> None:
        self.exporter, self.model, self.revision, self.name, self.truth = exporter, model, revision, name, truth

    def series(self, metric: str, **labels: str) -> str:
        said = {"namespace": "models", "pod": self.name, "model": self.model, "revision": self.revision, **labels}
        inside = ",".join(f'{name}="{value}"' for name, value in said.items())
        return f"{metric}{{{inside}}}"

    def count(self, metric: str, by: int = 1, **labels: str) -> None:
        """Count; a counter that was not there begins at zero."""
        self.truth[self.revision, metric, tuple(labels.values())] += by
        self.exporter.add(self.series(metric, **labels), by)

    def restarts(self) -> None:
        """Its counters are gone; the first count begins anew."""
        self.dies()

    def dies(self) -> None:
        self.exporter.drop(f'pod="{self.name}",model="{self.model}"')


Truth = defaultdict[tuple[str, str, tuple[str, ...]], int]


def no_truth_yet() -> Truth:
    return defaultdict(int)
