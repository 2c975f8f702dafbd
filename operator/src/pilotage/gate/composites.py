"""Which gates the Gaussian engine weighs, and the test of each: from a gate to a statistic, a boundary and a scale.

Knows no counts and no evidence. Source: statistics.md §4; scales: §2.2.
"""

from collections.abc import Sequence
from typing import Final

from pilotage.gate.arm import ArmCounts
from pilotage.gate.by_confusion import ConfusionStatistic
from pilotage.gate.by_moments import WORST_LOG_LOSS, MeanStatistic
from pilotage.gate.by_ranking import RankingStatistic
from pilotage.gate.composite import CompositeTest
from pilotage.gate.confusion import confusion_metric
from pilotage.gate.engine import Kind, Scope
from pilotage.gate.estimates import confusion_cells, cost_cells, ranking_of
from pilotage.gate.grids import floor_scale, margin_scale
from pilotage.gate.keeping import buckets_of
from pilotage.gate.smooth import Numbers, Statistic
from pilotage.gate.spec import Average, GateSpec, Metric

_LOSS_SHARE: Final = 0.1  # of a ceiling, or of what a loss can reach: the effect that is looked for first


def composite_test(gate: GateSpec, kind: Kind, *, classes: Sequence[str], scopes: Sequence[Scope]) -> CompositeTest:
    """The test of one boundary of a gate."""
    statistic = statistic_of(gate, classes, clusters=len(scopes[0].weights))
    sign = -1.0 if gate.is_loss else 1.0
    bound = -(gate.margin or 0.0) if kind is Kind.MARGIN else sign * (gate.limit or 0.0)
    reach = reach_of(gate, classes)
    return CompositeTest(
        kind=kind,
        scopes=tuple(scopes),
        statistic=statistic,
        bound=bound,
        reach=reach,
        first_effect=lambda past: scale_of(gate, kind, past, reach),
    )


def statistic_of(gate: GateSpec, classes: Sequence[str], *, clusters: int) -> Statistic:
    """The gate's metric as a smooth function of counts."""
    match gate.metric:
        case Metric.ROC_AUC | Metric.PR_AUC:
            about = tuple(classes) if gate.class_name is None else (gate.class_name,)
            return RankingStatistic(
                ranking=ranking_of(gate.metric),
                classes=about,
                by_support=gate.average is Average.WEIGHTED,
                buckets=buckets_of(gate, classes=len(classes), clusters=clusters),
            )
        case Metric.LOG_LOSS:
            return MeanStatistic(worst=WORST_LOG_LOSS, groups=0, count=lambda counts: _losses(gate, counts))
        case Metric.EXPECTED_COST:
            costs = cost_cells(gate, classes)
            return MeanStatistic(
                worst=max(costs), groups=len(classes), count=lambda counts: _costs(gate, classes, costs, counts)
            )
    if gate.class_name is not None:
        return ConfusionStatistic(
            metric=confusion_metric(gate.metric, None, 1, gate.beta),
            classes=2,
            count=lambda counts: _one_versus_rest(gate, classes, counts),
        )
    return ConfusionStatistic(
        metric=confusion_metric(gate.metric, gate.average, None, gate.beta),
        classes=len(classes),
        count=lambda counts: confusion_cells(gate, classes, counts),
    )


def scale_of(gate: GateSpec, kind: Kind, past: float | None, reach: float) -> float:
    """The effect to look for first. ``past``: stable's statistic before the rollout, None if it is not known."""
    if not gate.is_loss:
        return margin_scale(gate.margin or 0.0) if kind is Kind.MARGIN else floor_scale(gate.limit or 0.0, past)
    if kind is Kind.MARGIN:
        return gate.margin or _LOSS_SHARE * (reach / 10 if past is None or past >= 0 else -past)
    ceiling = gate.limit or reach
    if past is None:
        return _LOSS_SHARE * ceiling
    return min(max(abs(past + ceiling), _LOSS_SHARE / 4 * ceiling), 5 * _LOSS_SHARE * ceiling)


def reach_of(gate: GateSpec, classes: Sequence[str]) -> float:
    """The most that the metric can be, and that two arms can differ by."""
    match gate.metric:
        case Metric.LOG_LOSS:
            return WORST_LOG_LOSS
        case Metric.EXPECTED_COST:
            return max(cost_cells(gate, classes))
    return 1.0


def _losses(gate: GateSpec, counts: ArmCounts) -> Numbers:
    found = counts.means.get(gate.name)
    return (0, 0.0, 0.0) if found is None else (found.count, found.sum, found.sumsq)


def _costs(gate: GateSpec, classes: Sequence[str], costs: Sequence[float], counts: ArmCounts) -> Numbers:
    cells, size = confusion_cells(gate, classes, counts), len(classes)
    return (
        sum(cells),
        sum(n * cost for n, cost in zip(cells, costs, strict=True)),
        sum(n * cost * cost for n, cost in zip(cells, costs, strict=True)),
        *(sum(cells[k * size : (k + 1) * size]) for k in range(size)),
    )


def _one_versus_rest(gate: GateSpec, classes: Sequence[str], counts: ArmCounts) -> Numbers:
    """True negatives, false positives, false negatives, true positives."""
    cells, size = confusion_cells(gate, classes, counts), len(classes)
    k = list(classes).index(gate.class_name or "")
    hits, row, column = cells[k * (size + 1)], sum(cells[k * size : (k + 1) * size]), sum(cells[k::size])
    return (sum(cells) - row - column + hits, column - hits, row - hits, hits)
