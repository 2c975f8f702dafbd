"""The number to show: every metric and average of one arm over the production mix.

Shares of cells, buckets and sums are mixed over clusters first (``pi = sum_k W_k n_k / N_k``), the metric is taken of
the mix: the value scikit-learn gives on the same labels with ``sample_weight = W_k / N_k``. A cluster without labels,
a ratio of 0/0, an average over a class that is neither labelled nor predicted, a ranking without positives: absent
(None), never 0 or 1. Knows no test; verdicts do not come from here.
"""

from collections.abc import Callable, Iterable, Sequence

from pilotage.gate.arm import ArmCounts, Confusion
from pilotage.gate.confusion import confusion_metric, margins_of
from pilotage.gate.ranking import RankingMetric, Shares, average_precision, binning_bound, roc_auc
from pilotage.gate.spec import Average, GateSpec, Labels, Metric

Mix = Sequence[tuple[float, ArmCounts]]
"""(share of the production mix, counts of one arm) per cluster; shares add up to 1."""


def estimate(gate: GateSpec, classes: Sequence[str], mix: Mix) -> float | None:
    """The gate's metric of one arm, in its own units (nats, cost, a proportion); None where it is undefined."""
    served = [(share, counts) for share, counts in mix if share > 0]
    match gate.metric:
        case Metric.ERROR_RATE | Metric.LATENCY:
            rate = _mean(served, lambda counts: _proportion(gate, counts))
            return rate if rate is None or gate.metric is Metric.LATENCY else 1 - rate
        case Metric.LOG_LOSS:
            return _mean(served, lambda counts: _moments(gate, counts))
        case Metric.ROC_AUC | Metric.PR_AUC:
            return _ranked(gate, classes, served)
        case Metric.PREDICTION_SHIFT | Metric.CONFIDENCE_SHIFT:
            return None  # a comparison of arms: one arm alone has no value
    cells = mixed((share, confusion_cells(gate, classes, counts)) for share, counts in served)
    return None if cells is None else on_confusion(gate, classes, cells)


def on_confusion(gate: GateSpec, classes: Sequence[str], cells: Sequence[float]) -> float | None:
    """A confusion metric of a matrix of shares (or counts); None where it is undefined."""
    size = len(classes)
    margins = margins_of(cells, size)
    everything = margins.everything
    if everything <= 0:
        return None
    if gate.metric is Metric.EXPECTED_COST:
        costs = cost_cells(gate, classes)
        return sum(cost * n for cost, n in zip(costs, cells, strict=True)) / everything
    if gate.metric is Metric.ACCURACY or gate.average is Average.MICRO:
        right = sum(margins.diagonal) / everything
        # One-versus-rest, every wrong row is a false positive once and a true negative size - 2 times.
        return 1 - (1 - right) / (size - 1) if gate.metric is Metric.SPECIFICITY else right
    only = None if gate.class_name is None else list(classes).index(gate.class_name)
    return confusion_metric(gate.metric, gate.average, only, gate.beta).value(margins)


def confusion_cells(gate: GateSpec, classes: Sequence[str], counts: ArmCounts) -> tuple[int, ...]:
    """The cells a gate counts, row (actual) after row, in the order of ``classes``."""
    table: Confusion = counts.audit if gate.labels is Labels.AUDIT else counts.confusion
    return tuple(table.get(actual, {}).get(predicted, 0) for actual in classes for predicted in classes)


def cost_cells(gate: GateSpec, classes: Sequence[str]) -> tuple[float, ...]:
    """The cost of every cell in the same order; cells not named cost 0."""
    costs = gate.costs or {}
    return tuple(float(costs.get(actual, {}).get(predicted, 0.0)) for actual in classes for predicted in classes)


def mixed(parts: Iterable[tuple[float, Sequence[float]]]) -> list[float] | None:
    """Shares of each number over the mix; None if a part has nothing counted."""
    found: list[float] = []
    for weight, numbers in parts:
        total = sum(numbers)
        if total <= 0:
            return None
        scale = weight / total
        found = [a + scale * n for a, n in zip(found, numbers, strict=True)] if found else [scale * n for n in numbers]
    return found or None


def ranking_of(metric: Metric) -> RankingMetric:
    """ROC-AUC or PR-AUC as a function of the buckets."""
    return roc_auc if metric is Metric.ROC_AUC else average_precision


def binning(gate: GateSpec, classes: Sequence[str], mix: Mix) -> float | None:
    """How far the ROC-AUC shown may lie from that of the scores themselves, which are known to a bucket only.

    None for every other metric, and while it is undefined.
    """
    if gate.metric is not Metric.ROC_AUC:
        return None
    return _over_classes(gate, classes, mix, binning_bound)


def _ranked(gate: GateSpec, classes: Sequence[str], mix: Mix) -> float | None:
    ranking = ranking_of(gate.metric)

    def value(positives: Shares, negatives: Shares) -> float | None:
        found = ranking(positives, negatives)
        return None if found is None else found.value

    return _over_classes(gate, classes, mix, value)


def _over_classes(
    gate: GateSpec, classes: Sequence[str], mix: Mix, of: Callable[[Shares, Shares], float | None]
) -> float | None:
    """A number of positives and negatives per bucket, of the gate's class or averaged as the gate averages."""
    total = weights = 0.0
    for name in classes if gate.class_name is None else (gate.class_name,):
        shares = mixed((share, _buckets(name, counts)) for share, counts in mix if share > 0)
        half = 0 if shares is None else len(shares) // 2
        found = None if shares is None else of(shares[half:], shares[:half])
        if shares is None or found is None:
            return None
        weight = sum(shares[half:]) if gate.average is Average.WEIGHTED else 1.0
        total += weight * found
        weights += weight
    return total / weights


def _buckets(name: str, counts: ArmCounts) -> tuple[int, ...]:
    scores = counts.buckets.get(name)
    return () if scores is None else (*scores.negatives, *scores.positives)


def _proportion(gate: GateSpec, counts: ArmCounts) -> tuple[float, int]:
    found = counts.proportions.get(gate.name)
    return (0.0, 0) if found is None else (found.successes, found.trials)


def _moments(gate: GateSpec, counts: ArmCounts) -> tuple[float, int]:
    found = counts.means.get(gate.name)
    return (0.0, 0) if found is None else (found.sum, found.count)


def _mean(mix: Mix, of: Callable[[ArmCounts], tuple[float, int]]) -> float | None:
    total = 0.0
    for share, counts in mix:
        amount, count = of(counts)
        if count <= 0:
            return None
        total += share * amount / count
    return total if mix else None
