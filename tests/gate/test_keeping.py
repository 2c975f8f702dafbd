"""What a state keeps of blocks: no more than gates read, and small enough for a status."""

import json

import numpy as np
import pytest

from pilotage.gate import Analysis
from pilotage.gate.arm import ArmCounts, Scores
from pilotage.gate.keeping import coarser, kept, ranked_classes, remembered
from pilotage.gate.spec import Average, GateSpec, Metric
from pilotage.gate.sums import sums_from_json, sums_to_json

CLASSES = [f"class-{k}" for k in range(10)]
CLUSTERS = [f"cluster-{k}" for k in range(10)]
ONE_CLASS = GateSpec(name="one", metric=Metric.PR_AUC, class_name="class-3", floor=0.5)
AVERAGE = GateSpec(name="all", metric=Metric.ROC_AUC, average=Average.MACRO, floor=0.5)


def scores(rng: np.random.Generator, n: int) -> dict[str, dict[str, list[int]]]:
    chances = np.exp(-np.arange(50) / 6)
    chances /= chances.sum()
    return {
        name: {
            "0": rng.multinomial(9 * n // 10, chances).tolist(),
            "1": rng.multinomial(n // 10, chances[::-1]).tolist(),
        }
        for name in CLASSES
    }


def test_only_ranked_classes_are_kept_and_an_average_over_many_is_kept_coarsely():
    assert ranked_classes([ONE_CLASS], CLASSES, clusters=10) == {"class-3": 50}
    assert set(ranked_classes([AVERAGE], CLASSES, clusters=3).values()) == {50}
    both = ranked_classes([AVERAGE, ONE_CLASS], CLASSES, clusters=10)
    assert both == {name: 50 if name == "class-3" else 20 for name in CLASSES}
    counts = ArmCounts(buckets={name: Scores(negatives=(1,) * 50, positives=(2,) * 50) for name in CLASSES[:2]})
    left = kept(counts, {"class-1": 20})
    assert set(left.buckets) == {"class-1"}
    assert sum(left.buckets["class-1"].positives) == 100
    assert len(left.buckets["class-1"].negatives) == 20


def test_coarser_buckets_hold_the_same_labels_in_the_same_order():
    side = tuple(range(50))
    assert coarser(side, 50) == side
    assert coarser(coarser(side, 20), 20) == coarser(side, 20)
    assert coarser(side, 20)[:2] == (0 + 1, 2 + 3 + 4)
    assert sum(coarser(side, 20)) == sum(side)


def test_at_a_change_of_weight_only_what_smooth_metrics_compare_is_remembered():
    counts = ArmCounts(
        confusion={"a": {"a": 3}}, served={"a": 9}, buckets={"a": Scores(negatives=(1,), positives=(2,))}
    )
    sums = {"aws": {"canary": counts}}
    assert remembered(sums, set()) == {}
    assert remembered(sums, {Metric.F1})["aws"]["canary"] == ArmCounts(confusion={"a": {"a": 3}})
    assert remembered(sums, {Metric.ROC_AUC})["aws"]["canary"] == ArmCounts(buckets=counts.buckets)


def test_buckets_survive_their_way_through_a_state():
    rng = np.random.default_rng(1)
    found = {
        name: Scores(negatives=tuple(part["0"]), positives=tuple(part["1"]))
        for name, part in scores(rng, 5000).items()
        if name != "class-4"
    }
    sums = {"aws": {"canary": ArmCounts(buckets=found, served={"class-2": 7})}, "gcp": {"stable": ArmCounts()}}
    assert sums_from_json(json.loads(json.dumps(sums_to_json(sums, CLASSES))), CLASSES) == sums


@pytest.mark.parametrize(
    "gate",
    [
        {"name": "g", "metric": "f1", "average": "macro", "floor": 0.8, "margin": 0.02},
        {"name": "g", "metric": "rocAuc", "average": "macro", "floor": 0.6, "margin": 0.02},
    ],
    ids=["macro f1", "macro rocAuc"],
)
def test_the_state_of_ten_classes_in_ten_clusters_stays_below_40_kib(gate):
    rng = np.random.default_rng(2)
    analysis = Analysis.from_spec({"gates": [gate]})
    state = analysis.start(CLASSES, dict.fromkeys(CLUSTERS, 0.1))

    def arm(n: int) -> dict[str, object]:
        cells = rng.multinomial(n, ((np.full((10, 10), 0.01) + 0.9 * np.eye(10)) / 10).ravel()).reshape(10, 10)
        table = {a: dict(zip(CLASSES, row.tolist(), strict=True)) for a, row in zip(CLASSES, cells, strict=True)}
        served = dict(zip(CLASSES, cells.sum(axis=0).tolist(), strict=True))
        return {
            "confusion": table,
            "served": served,
            **({"buckets": scores(rng, n)} if "rocAuc" in gate.values() else {}),
        }

    for look in range(4):
        clusters = {name: {"canary": arm(2000), "stable": arm(4000)} for name in CLUSTERS}
        state = analysis.update(state, {"at": 60.0 * look, "step": look // 2, "clusters": clusters})
    assert len(json.dumps(state, separators=(",", ":"))) <= 40 * 1024
    assert analysis.verdict(state).gates["g"].log_e_pass > 0
