"""What holds for any traffic: order, splitting, emptiness, writing down, silence without data."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pilotage.gate import Analysis, State

CLASSES = ["a", "b", "c"]
SHARES = {"aws": 0.5, "gcp": 0.3, "azure": 0.2}
GATES = [
    {"name": "recall", "metric": "recall", "class": "a", "floor": 0.8, "margin": 0.05},
    {"name": "accuracy", "metric": "accuracy", "margin": 0.02},
    {"name": "macro", "metric": "precision", "average": "macro", "floor": 0.7, "margin": 0.1},
    {"name": "f1", "metric": "f1", "class": "b", "floor": 0.6, "margin": 0.1},
    {"name": "smooth", "metric": "f1", "average": "macro", "margin": 0.1},
    {"name": "cost", "metric": "expectedCost", "ceiling": 0.5, "costs": {"a": {"b": 5}, "b": {"c": 1}}},
    {"name": "errors", "metric": "errorRate", "ceiling": 0.1, "margin": 0.05},
    {"name": "shift", "metric": "predictionShift", "margin": 0.1},
    {"name": "watched", "metric": "specificity", "class": "c", "floor": 0.8, "mode": "Advisory"},
]
ANALYSIS = Analysis.from_spec({"gates": GATES, "analysis": {"minSamples": 0}})
HISTORY = {name: [{"confusion": {a: {a: 45, "b" if a != "b" else "c": 5} for a in CLASSES}}] for name in SHARES}

cells = st.dictionaries(st.sampled_from(CLASSES), st.integers(0, 12), max_size=3)
requests = st.tuples(st.integers(0, 8), st.integers(0, 2)).map(
    lambda n: {"errors": {"successes": n[0], "trials": n[0] + n[1]}}
)
counts = st.fixed_dictionaries(
    {"confusion": st.dictionaries(st.sampled_from(CLASSES), cells, max_size=3)},
    optional={"served": cells, "proportions": requests},
)
arms = st.fixed_dictionaries({"stable": counts, "canary": counts})
clusters = st.dictionaries(st.sampled_from(sorted(SHARES)), arms, max_size=3)
fast = settings(deadline=None, max_examples=25)


def blocks(looks: list[dict[str, Any]], *, turn_at: int | None = None) -> list[dict[str, Any]]:
    return [
        {"at": 30.0 * look, "step": 1 if turn_at is not None and look >= turn_at else 0, "clusters": counted}
        for look, counted in enumerate(looks)
    ]


def after(looks: list[dict[str, Any]], **how: Any) -> State:
    state = ANALYSIS.start(CLASSES, SHARES, HISTORY)
    for block in blocks(looks, **how):
        state = ANALYSIS.update(state, block)
    return state


@given(looks=st.lists(clusters, max_size=5), order=st.permutations(sorted(SHARES)))
@fast
def test_the_order_of_clusters_changes_nothing(looks, order):
    state = ANALYSIS.start(CLASSES, {name: SHARES[name] for name in order}, {name: HISTORY[name] for name in order})
    for block in blocks(looks):
        shuffled = {name: block["clusters"][name] for name in order if name in block["clusters"]}
        state = ANALYSIS.update(state, block | {"clusters": shuffled})
    assert state == after(looks)
    assert ANALYSIS.verdict(state) == ANALYSIS.verdict(after(looks))


@given(looks=st.lists(clusters, max_size=4), at=st.floats(0, 1e9))
@fast
def test_an_empty_block_is_the_identity(looks, at):
    state = after(looks)
    step = 0 if looks else None
    nothing: list[dict[str, Any]] = [{}, {"aws": {}}, {"aws": {"stable": {"confusion": {"a": {"b": 0}}}}}]
    for empty in nothing:
        block = {"at": at, "clusters": empty} | ({"step": step} if step is not None else {})
        assert ANALYSIS.update(state, block) == state


@given(looks=st.lists(clusters, max_size=4))
@fast
def test_what_is_written_down_is_read_back(looks):
    state = after(looks)
    again = json.loads(json.dumps(state))
    assert again == state
    assert State.from_dict(again) == state
    more = {"at": 999.0, "step": 0, "clusters": {"aws": {"canary": {"confusion": {"a": {"a": 9}}}}}}
    assert ANALYSIS.update(again, more) == ANALYSIS.update(state, more)
    assert ANALYSIS.verdict(again) == ANALYSIS.verdict(state)


def closed_blocks(state: State) -> dict[str, int]:
    """What grows whenever some process of some test makes a bet."""
    return {name: gate.blocks for name, gate in ANALYSIS.verdict(state).gates.items()}


@given(
    first=clusters,
    second=st.dictionaries(st.sampled_from(sorted(SHARES)), arms, max_size=3),
    parts=st.integers(2, 4),
    served=st.integers(0, 9),
)
@fast
def test_splitting_a_block_that_does_not_close_changes_nothing(first, second, parts, served):
    """All of a block but its last piece is handed in before; if none of the pieces closes, the end is the same."""
    state = after([first])
    whole = ANALYSIS.update(state, {"at": 100.0, "step": 0, "clusters": second})
    if closed_blocks(whole) != closed_blocks(state):
        return
    pieces = state
    for part in range(parts):
        pieces = ANALYSIS.update(pieces, {"at": 50.0 + part, "step": 0, "clusters": piece(second, part, parts)})
    assert pieces == whole


def piece(whole: Any, part: int, parts: int) -> Any:
    """That part of every count."""
    if isinstance(whole, dict):
        if whole.keys() == {"successes", "trials"}:  # misses are split as hits are, so that every piece can be
            misses = piece(whole["trials"] - whole["successes"], part, parts)
            hits = piece(whole["successes"], part, parts)
            return {"successes": hits, "trials": hits + misses}
        return {key: piece(value, part, parts) for key, value in whole.items()}
    return whole // parts + (part < whole % parts)


@given(looks=st.lists(clusters, max_size=6), turn_at=st.integers(0, 5))
@fast
def test_nothing_passes_without_labels_of_the_canary(looks, turn_at):
    silent = [{name: {"stable": both["stable"]} for name, both in look.items()} for look in looks]
    verdict = ANALYSIS.verdict(after(silent, turn_at=turn_at))
    assert verdict.state == "InsufficientData"
    assert all(gate.state == "InsufficientData" for name, gate in verdict.gates.items() if name != "shift")


@given(looks=st.lists(clusters, max_size=6), turn_at=st.integers(0, 5))
@fast
def test_intervals_hold_their_estimates_and_agree_with_the_verdict(looks, turn_at):
    for gate in ANALYSIS.verdict(after(looks, turn_at=turn_at)).gates.values():
        if gate.estimate is not None:
            assert gate.lower is not None
            assert gate.upper is not None
            assert 0 <= gate.lower <= gate.estimate <= gate.upper <= (5 if gate.name == "cost" else 1)
        if gate.difference is not None:
            d = gate.difference
            assert -1 <= d["lower"] <= d["estimate"] <= d["upper"] <= 1
            if gate.state != "Pass" and gate.floor is gate.ceiling is None and gate.margin is not None:
                assert d["lower"] <= -gate.margin


@given(looks=st.lists(clusters, min_size=1, max_size=5), turn_at=st.integers(0, 5))
@fast
def test_updates_never_lose_or_invent_a_label(looks, turn_at):
    verdict = ANALYSIS.verdict(after(looks, turn_at=turn_at))
    for arm in ("stable", "canary"):
        for name in SHARES:
            given_here = sum(
                n
                for look in looks
                if name in look
                for row in look[name][arm]["confusion"].values()
                for n in row.values()
            )
            assert verdict.gates["accuracy"].labels[arm][name] == given_here
