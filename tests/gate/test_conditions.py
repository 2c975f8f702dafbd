"""The conditions of the guarantee: each trips where it is broken, none where it holds, and later evidence clears it."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotage.gate import conditions
from pilotage.gate.arm import ArmCounts
from pilotage.gate.blocks import decode_block, decode_counts
from pilotage.gate.conditions import Breach, Condition, Conditions, Watched
from pilotage.gate.engine import Arms, plus
from pilotage.gate.spec_reader import decode

CLASSES = ("a", "b", "c")
RECALL = {"name": "recall", "metric": "recall", "class": "a", "floor": 0.8, "margin": 0.02}
PRECISION = {"name": "precision", "metric": "precision", "class": "a", "margin": 0.02}
PRECISION_OF_B = {"name": "precision-of-b", "metric": "precision", "class": "b", "margin": 0.02}
ACCURACY = {"name": "accuracy", "metric": "accuracy", "floor": 0.8}
ERRORS = {"name": "errors", "metric": "errorRate", "margin": 0.01}
GUARD = {"name": "guard", "metric": "predictionShift", "margin": 0.05}
GATES = [RECALL, PRECISION, PRECISION_OF_B, ACCURACY, ERRORS, GUARD]
LABELLED = {"recall", "precision", "precision-of-b", "accuracy"}
EVERY = LABELLED | {"errors", "guard"}


def watched(gates: Sequence[Mapping[str, Any]] = GATES, clusters: Sequence[str] = ("aws",)) -> Watched:
    return Watched(gates=decode({"gates": gates})[0], classes=CLASSES, clusters=tuple(clusters))


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What the conditions remember, and the sums of everything counted."""

    memory: Conditions
    sums: Arms


def opened(about: Watched, history: Mapping[str, Any] | None = None) -> Seen:
    past = {
        name: [decode_counts(name, counts, classes=CLASSES) for counts in (history or {}).get(name, [])]
        for name in about.clusters
    }
    return Seen(memory=conditions.opened(about, past), sums={})


def absorbed(seen: Seen, about: Watched, block: Mapping[str, Any]) -> Seen:
    decoded = decode_block({"at": 0, **block}, classes=CLASSES, clusters=about.clusters)
    return Seen(memory=conditions.absorbed(seen.memory, decoded, about), sums=plus(seen.sums, decoded.clusters))


def everything(seen: Seen, about: Watched) -> tuple[Breach, ...]:
    return conditions.breaches(seen.memory, about, seen.sums)


def breaches(seen: Seen, about: Watched) -> tuple[Breach, ...]:
    """What is broken, without what is only suspected."""
    return tuple(breach for breach in everything(seen, about) if not breach.suspected)


def found(seen: Seen, about: Watched) -> dict[Condition, Breach]:
    """The first breach of every condition."""
    return {breach.condition: breach for breach in reversed(breaches(seen, about))}


def drawn(
    rng: np.random.Generator,
    rows: int,
    *,
    coverage: Sequence[float] = (0.3, 0.3, 0.3),
    prior: Sequence[float] = (0.5, 0.3, 0.2),
    right: float = 0.9,
    late: float = 0.0,
    bins: Sequence[float] = (0.25, 0.25, 0.25, 0.25),
) -> dict[str, Any]:
    """One arm's rows of one look: served, labelled by their prediction's coverage, some of them late."""
    wrong = (1 - right) / 2
    rates = [[prior[i] * (right if i == j else wrong) for j in range(3)] for i in range(3)]
    served = rng.multinomial(rows, np.ravel(rates) / np.sum(rates)).reshape(3, 3)
    labelled = rng.binomial(served, np.broadcast_to(coverage, (3, 3)))
    timely = rng.binomial(labelled, 1 - late)
    return {
        "confusion": {a: {p: int(timely[i, j]) for j, p in enumerate(CLASSES)} for i, a in enumerate(CLASSES)},
        "served": {p: int(served[:, j].sum()) for j, p in enumerate(CLASSES)},
        "late": {"900": int((labelled - timely).sum())},
        "inputs": {"age": [int(n) for n in rng.multinomial(rows, bins)]},
    }


def run(
    block: Callable[[np.random.Generator], Mapping[str, Any]],
    *,
    looks: int = 60,
    seed: int = 1,
    about: Watched | None = None,
    history: Mapping[str, Any] | None = None,
) -> dict[Condition, Breach]:
    about, rng = about or watched(), np.random.default_rng(seed)
    memory = opened(about, history)
    for _ in range(looks):
        memory = absorbed(memory, about, block(rng))
    return found(memory, about)


def one_cluster(canary: Mapping[str, Any], stable: Mapping[str, Any] | None = None, **more: Any) -> Any:
    def block(rng: np.random.Generator) -> dict[str, Any]:
        arms = {"canary": drawn(rng, 60, **canary), "stable": drawn(rng, 240, **(canary if stable is None else stable))}
        return {"clusters": {"aws": arms}, **more}

    return block


def test_clean_data_never_trip_anything_however_often_one_looks():
    """Equal coverage, drifting base rates, a stepping split, two clusters; every look is checked."""
    about = watched(clusters=("aws", "gcp"))
    rng = np.random.default_rng(2)
    for _ in range(12):
        memory = opened(about, {"aws": [drawn(rng, 2000)], "gcp": [drawn(rng, 2000)]})
        for look in range(100):
            share = (0.05, 0.1, 0.25, 0.5)[look // 25]
            drift: dict[str, Any] = {
                "prior": (0.5 - 0.003 * look, 0.3 + 0.003 * look, 0.2),
                "coverage": [0.1 + 0.004 * look] * 3,
            }
            rows = {"aws": 200, "gcp": 60}
            block = {
                "clusters": {
                    name: {
                        "canary": drawn(rng, int(n * share), late=0.03, **drift),
                        "stable": drawn(rng, n - int(n * share), late=0.03, **drift),
                    }
                    for name, n in rows.items()
                },
                "expected": {"aws": share, "gcp": share},
            }
            memory = absorbed(memory, about, block)
            assert breaches(memory, about) == ()


def test_late_labels_name_the_delays_and_the_delay_that_would_fit():
    about = watched()
    memory = opened(about)
    on_time = {"confusion": {"a": {"a": 300}}}
    canary = {"confusion": {"a": {"a": 80}}, "late": {"900": 12, "1800": 6, "+Inf": 2}}
    memory = absorbed(memory, about, {"clusters": {"aws": {"stable": on_time, "canary": canary}}})
    breach = found(memory, about)[Condition.LABELS_LATE]
    assert breach.reason == (
        "20.0% of the canary's 100 labels came after labelDelay, in aws, more than 5% "
        "(12 within 900 s, 6 within 1800 s, 2 after more than 1800 s); labelDelay: 1800s would fit 95 %"
    )
    assert breach.passes == breach.fails == LABELLED


def test_a_few_late_labels_say_nothing_yet_and_five_percent_are_allowed():
    about = watched()
    few = {"canary": {"confusion": {"a": {"a": 7}}, "late": {"900": 3}}}
    assert found(absorbed(opened(about), about, {"clusters": {"aws": few}}), about) == {}
    assert Condition.LABELS_LATE not in run(one_cluster({"late": 0.05}), looks=100)


def test_a_pass_waits_until_late_labels_are_clearly_rare():
    about = watched()
    doubtful = {"canary": {"confusion": {"a": {"a": 116}}, "late": {"900": 9}}}
    rare = {"canary": {"confusion": {"a": {"a": 488}}, "late": {"900": 12}}}

    (suspicion,) = everything(absorbed(opened(about), about, {"clusters": {"aws": doubtful}}), about)

    assert suspicion.reason == (
        "7.2% of the canary's 125 labels came after labelDelay, which may be more than 5% in the end; "
        "more labels will tell"
    )
    assert suspicion.passes == LABELLED
    assert not suspicion.fails
    assert suspicion.suspected
    assert everything(absorbed(opened(about), about, {"clusters": {"aws": rare}}), about) == ()


def test_a_stable_with_late_labels_says_nothing_about_a_floor():
    breach = run(one_cluster({}, {"late": 0.2}))[Condition.LABELS_LATE]
    assert "the stable's" in breach.reason
    assert breach.passes == LABELLED - {"accuracy"}


def test_late_labels_that_stay_rare_are_forgiven():
    about, rng = watched(), np.random.default_rng(3)
    memory = absorbed(opened(about), about, one_cluster({"late": 0.5})(rng))
    assert Condition.LABELS_LATE in found(memory, about)
    for _ in range(40):
        memory = absorbed(memory, about, one_cluster({})(rng))
    assert Condition.LABELS_LATE not in found(memory, about)


def test_labels_for_predicted_positives_only_touch_every_metric_but_precision():
    found = run(one_cluster({"coverage": (0.5, 0.0, 0.0)}), looks=3)
    breach = found[Condition.COVERAGE_BY_PREDICTION]
    assert breach.passes == breach.fails == {"recall", "accuracy"}
    assert "served rows predicted 'b' in aws are labelled, where" in breach.reason
    assert Condition.COVERAGE_DIFFERS not in found


def test_labels_for_predicted_positives_only_are_seen_before_a_recall_gate_can_pass():
    """At full coverage a recall of 1 needs about 60 labels against a floor of 0.9: one look has shown it by then."""
    about = watched()
    arm = {"confusion": {"a": {"a": 50}, "b": {"a": 5}}, "served": {"a": 55, "b": 55}}
    memory = absorbed(opened(about), about, {"clusters": {"aws": {"canary": arm, "stable": arm}}})
    assert Condition.COVERAGE_BY_PREDICTION in found(memory, about)


def test_an_arm_that_is_labelled_less_is_found_and_the_class_decides_which_precision_it_touches():
    breach = run(one_cluster({"coverage": (0.3, 0.15, 0.3)}, {}))[Condition.COVERAGE_DIFFERS]
    assert "the canary's" in breach.reason
    assert "served rows predicted 'b' in aws" in breach.reason
    assert breach.passes == LABELLED - {"precision"}


def test_a_small_difference_of_coverage_is_tolerated_however_sure_it_is():
    counts = {"confusion": {"a": {"a": 4900}, "b": {"b": 5100}}, "served": {"a": 10_000, "b": 10_000}}
    about, memory = watched(), opened(watched())
    for _ in range(20):
        memory = absorbed(memory, about, {"clusters": {"aws": {"canary": counts, "stable": counts}}})
    assert found(memory, about) == {}


def test_coverage_that_changes_with_time_while_the_split_steps_is_no_breach():
    """Pooled over time the canary's coverage would be 0.47 against 0.25: it served more when more was labelled."""
    about, rng = watched(), np.random.default_rng(4)
    memory = opened(about)
    for look in range(60):
        share, coverage = (0.05, 0.1) if look < 30 else (0.5, 0.5)
        arms = {
            "canary": drawn(rng, int(200 * share), coverage=[coverage] * 3),
            "stable": drawn(rng, int(200 * (1 - share)), coverage=[coverage] * 3),
        }
        if look == 30:
            memory = replace(memory, memory=conditions.turned(memory.memory, about))
        memory = absorbed(memory, about, {"clusters": {"aws": arms}})
        assert found(memory, about) == {}


def test_coverage_is_not_judged_without_served_rows():
    def block(rng: np.random.Generator) -> dict[str, Any]:
        arms = {arm: drawn(rng, 60, coverage=(0.5, 0.1, 0.1)) for arm in ("canary", "stable")}
        return {"clusters": {"aws": {arm: {"confusion": counts["confusion"]} for arm, counts in arms.items()}}}

    assert run(block) == {}


def test_labels_scraped_before_their_rows_are_no_breach():
    """Everything is labelled, but some rows of a look are told with the next: neither arm may look less labelled."""
    about, rng, memory = watched(), np.random.default_rng(8), opened(watched())
    waiting = {"canary": [0, 0, 0], "stable": [0, 0, 0]}
    for _ in range(200):
        arms = {}
        for arm, rows in (("canary", 40), ("stable", 400)):
            counts = drawn(rng, rows, coverage=(1, 1, 1))
            known = [n + w for n, w in zip(counts["served"].values(), waiting[arm], strict=True)]
            waiting[arm] = [int(rng.integers(0, 1 + n)) for n in known]
            told = [n - w for n, w in zip(known, waiting[arm], strict=True)]
            arms[arm] = counts | {"served": dict(zip(CLASSES, told, strict=True))}
        memory = absorbed(memory, about, {"clusters": {"aws": arms}})
        assert found(memory, about) == {}


def test_audit_gates_are_judged_by_audited_rows():
    audit = {"name": "audited", "metric": "recall", "class": "a", "floor": 0.8, "labels": "audit"}

    def block(rng: np.random.Generator) -> dict[str, Any]:
        def arm(rows: int) -> dict[str, Any]:
            counts, chosen = drawn(rng, rows, coverage=(0.9, 0.1, 0.1)), drawn(rng, rows, coverage=(0.1, 0.1, 0.1))
            return counts | {"audit": chosen["confusion"], "served": chosen["served"]}

        return {"clusters": {"aws": {"canary": arm(60), "stable": arm(240)}}}

    breach = run(block, about=watched([ACCURACY, audit]))[Condition.COVERAGE_BY_PREDICTION]
    assert breach.passes == {"accuracy"}


ONE_COLUMN = {"a": {"a": 30}, "b": {"a": 4}, "c": {"a": 2}}


def without_served(confusion: Mapping[str, Any], history: Mapping[str, Any] | None = None) -> dict[Condition, Breach]:
    about = watched()
    arms = {"clusters": {"aws": {"canary": {"confusion": confusion}, "stable": {"confusion": confusion}}}}
    return found(absorbed(opened(about, history), about, arms), about)


def test_labels_of_one_predicted_class_alone_are_suspicious_even_without_served_rows():
    breach = without_served(ONE_COLUMN)[Condition.COVERAGE_BY_PREDICTION]
    assert breach.passes == LABELLED - {"precision"}
    assert breach.reason.startswith("all 72 labels of both arms were given to rows predicted 'a', none to any other")


def test_one_label_of_another_prediction_ends_the_suspicion():
    assert without_served(ONE_COLUMN | {"b": {"a": 4, "b": 1}}) == {}


def test_a_near_perfect_model_fed_with_one_class_is_not_suspected():
    assert without_served({"a": {"a": 500}}) == {}
    assert without_served({"a": {"a": 5000, "b": 1}}) == {}


def test_history_that_promises_other_labels_makes_their_absence_suspicious():
    history = {"aws": [{"confusion": {"a": {"a": 80}, "b": {"b": 20}}}]}
    assert Condition.COVERAGE_BY_PREDICTION in without_served({"a": {"a": 40}}, history)
    assert without_served({"a": {"a": 10}}, history) == {}


def test_a_split_that_is_off_touches_everything_but_lets_errors_fail():
    breach = run(one_cluster({}, expected={"aws": 0.4}), looks=80)[Condition.SPLIT_DIFFERS]
    assert breach.reason.startswith("the canary in aws served 20.0% of 24000 rows, where 40.0% was to be expected")
    assert breach.passes == EVERY
    assert breach.fails == EVERY - {"errors"}


def test_a_split_is_not_judged_where_no_share_is_expected_or_it_is_close():
    assert run(one_cluster({}), looks=80) == {}
    assert run(one_cluster({}, expected={"aws": 0.22}), looks=80) == {}


def test_arms_that_are_asked_different_things_are_found():
    breach = run(one_cluster({"bins": (0.4, 0.2, 0.2, 0.2)}, {}))[Condition.INPUTS_DIFFER]
    assert "'age' falls into bin 0 for 4" in breach.reason
    assert "stability index 0." in breach.reason
    assert breach.fails == EVERY - {"errors"}


def test_features_cut_into_different_bins_are_not_compared():
    def block(rng: np.random.Generator) -> dict[str, Any]:
        arms = {"canary": drawn(rng, 60, bins=(0.5, 0.5)), "stable": drawn(rng, 240)}
        return {"clusters": {"aws": arms}}

    assert run(block) == {}


def test_a_class_that_one_arm_has_lost_is_named_and_recall_of_others_is_spared():
    breach = run(one_cluster({"prior": (0.6, 0.4, 0)}, {}))[Condition.CLASS_ABSENT]
    assert breach.reason.startswith("no label of class 'c' came for the canary")
    assert breach.passes == LABELLED - {"recall"}


def test_several_lost_classes_are_one_breach():
    confusion = {k: {k: 100} for k in CLASSES}
    about = watched()
    arms = {"stable": {"confusion": confusion}, "canary": {"confusion": {"a": {"a": 100}}}}
    breach = found(absorbed(opened(about), about, {"clusters": {"aws": arms}}), about)[Condition.CLASS_ABSENT]
    assert breach.reason.startswith("no label of class 'b' (and of 1 others) came for the canary, 100 for the stable")


def test_a_rare_class_may_be_absent_for_a_while():
    assert run(one_cluster({"prior": (0.6, 0.4, 0)}, {"prior": (0.6, 0.3998, 0.0002)}), looks=20) == {}


PRECISE = {"name": "precise", "metric": "precision", "class": "a", "floor": 0.8}
WITH_MARGIN = PRECISE | {"margin": 0.02}


def at_prevalence(share: float, *, floor: float = 0.8, right: float = 0.9) -> dict[Condition, Breach]:
    """Precision of a is 0.9·s / (0.9·s + 0.05·(1 − s)): 0.818 at 20 % of the labels, 0.667 at 10 %."""
    rng = np.random.default_rng(5)
    history = {"aws": [drawn(rng, 20_000, prior=(0.2, 0.4, 0.4))]}
    prior = (share, (1 - share) / 2, (1 - share) / 2)
    about = watched([WITH_MARGIN | {"floor": floor}])
    return run(one_cluster({"prior": prior, "right": right}), about=about, history=history, looks=100)


def test_a_precision_floor_broken_by_prevalence_alone_is_no_fail():
    breach = at_prevalence(0.1, floor=0.75)[Condition.PREVALENCE_SHIFTED]
    assert breach.floors_only
    assert breach.fails == {"precise"}
    assert "class 'a' makes" in breach.reason
    assert "on the other side of the floor 0.75" in breach.reason


def test_a_precision_floor_held_by_prevalence_alone_is_no_pass():
    assert Condition.PREVALENCE_SHIFTED in at_prevalence(0.4, right=0.82)


@pytest.mark.parametrize(("share", "floor"), [(0.2, 0.8), (0.22, 0.8), (0.4, 0.7), (0.1, 0.9)])
def test_prevalence_that_changes_no_answer_is_no_breach(share, floor):
    assert at_prevalence(share, floor=floor) == {}


def test_memory_survives_json_and_stays_small():
    clusters = [f"cluster-{k}" for k in range(10)]
    about = watched([WITH_MARGIN, *GATES], clusters)
    rng = np.random.default_rng(6)
    memory = opened(about, {name: [drawn(rng, 500)] for name in clusters})
    for _ in range(3):
        arms = {arm: drawn(rng, 3000, late=0.1) for arm in ("canary", "stable")}
        memory = absorbed(memory, about, {"clusters": dict.fromkeys(clusters, arms), "expected": {"cluster-0": 0.5}})
        written = json.loads(json.dumps(conditions.encode(memory.memory, about)))
        assert conditions.decode(written, about) == memory.memory
        assert len(json.dumps(written)) <= 3072


def test_nothing_told_is_nothing_remembered():
    about = watched([ERRORS])
    memory = absorbed(opened(about), about, {"clusters": {"aws": {"canary": {"confusion": {"a": {"a": 5}}}}}})
    assert conditions.encode(memory.memory, about) == {}


@given(cuts=st.lists(st.integers(0, 5), max_size=5), seed=st.integers(0, 2**32 - 1))
def test_splitting_a_block_changes_no_sum(cuts, seed):
    """Late labels, classes, prevalence and rows that wait count the same however a caller cuts time."""
    about, rng = watched([WITH_MARGIN, *GATES]), np.random.default_rng(seed)
    history = {"aws": [drawn(rng, 500)]}
    parts = [decode_counts("part", drawn(rng, 40, late=0.1), classes=CLASSES) for _ in range(6)]
    edges = sorted({0, 6, *cuts})

    def fed(edges: Sequence[int]) -> Seen:
        memory = opened(about, history)
        for first, last in pairwise(edges):
            whole = sum(parts[first:last], ArmCounts())
            raw = {"confusion": whole.confusion, "late": whole.late, "served": whole.served}
            memory = absorbed(memory, about, {"clusters": {"aws": {"canary": raw}}})
        return memory

    assert fed(edges).memory == fed([0, 6]).memory
    assert breaches(fed(edges), about) == breaches(fed([0, 6]), about)


def test_labels_of_a_foreign_exporter_are_its_own_matter():
    roles = {role: f"{role}_total{{revision='$revision'}}" for role in ("tp", "fp", "fn", "tn")}
    foreign = ACCURACY | {"name": "foreign", "counts": roles}
    late = {"confusion": {"a": {"a": 50}}, "late": {"900": 50}}
    about = watched([ACCURACY, foreign])
    breach = found(absorbed(opened(about), about, {"clusters": {"aws": {"canary": late}}}), about)
    assert breach[Condition.LABELS_LATE].passes == {"accuracy"}
