"""When an intent counts as being there already."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotage.kube import differences, is_subset, stamped
from pilotage.kube.merge import merge, merge_diff
from support.gadgets import a_deployment

ANNOTATION = "pilotage.dev/intent"

NAMES = st.sampled_from(["a", "b", "c", "spec", "data"])
SCALARS = st.one_of(st.booleans(), st.integers(-3, 3), st.text(max_size=3))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=8,
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=4)


def _grown(live: Any, extra: Any) -> Any:
    """Add to every map what it does not say yet."""
    if isinstance(live, dict):
        return {"zz": extra} | {name: _grown(value, extra) for name, value in live.items()}
    if isinstance(live, list):
        return [_grown(value, extra) for value in live]
    return live


@given(OBJECTS)
def test_everything_is_a_subset_of_itself(found: dict[str, Any]) -> None:
    assert is_subset(found, found)


@given(OBJECTS, SCALARS)
def test_what_others_add_makes_no_difference(intent: dict[str, Any], extra: Any) -> None:
    assert is_subset(intent, _grown(intent, extra))


@given(OBJECTS, NAMES, SCALARS)
def test_a_changed_value_is_found_by_its_path(intent: dict[str, Any], name: str, value: Any) -> None:
    live = copy.deepcopy(intent)
    intent = intent | {name: f"other than {value}"}

    assert list(differences(intent, live)) == [name]


@given(OBJECTS, OBJECTS)
def test_a_merge_patch_turns_the_old_into_the_new(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert merge(old, merge_diff(old, new)) == new


@given(OBJECTS)
def test_equal_objects_need_no_patch(found: dict[str, Any]) -> None:
    assert merge_diff(found, copy.deepcopy(found)) == {}


def test_keyed_lists_are_compared_by_key_in_any_order() -> None:
    intent = {"containers": [{"name": "server", "image": "x"}]}
    live = {"containers": [{"name": "injected"}, {"name": "server", "image": "x", "ports": []}]}

    assert is_subset(intent, live)


def test_an_item_that_is_missing_is_named() -> None:
    intent = {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}
    live = {"env": [{"name": "A", "value": "1"}]}

    assert list(differences(intent, live)) == ["env[B]"]


def test_other_lists_are_compared_in_full_and_in_order() -> None:
    assert is_subset({"args": ["a", "b"]}, {"args": ["a", "b"]})
    assert list(differences({"args": ["a", "b"]}, {"args": ["b", "a"]})) == ["args[0]", "args[1]"]
    assert list(differences({"args": ["a"]}, {"args": ["a", "b"]})) == ["args"]


def test_defaults_inside_the_items_of_an_ordered_list_make_no_difference() -> None:
    intent = {"rules": [{"backendRefs": [{"name": "a", "weight": 90}]}]}
    live = {"rules": [{"matches": [{}], "backendRefs": [{"name": "a", "weight": 90, "kind": "Service"}]}]}

    assert is_subset(intent, live)


@pytest.mark.parametrize(
    ("wanted", "found", "expected"),
    [("0.5", "500m", True), ("1024Mi", "1Gi", True), ("500m", "501m", False), ("1", None, False)],
)
def test_quantities_are_compared_by_value(wanted: str, found: str | None, expected: bool) -> None:
    live = {"requests": {"cpu": found} if found else {}}

    assert is_subset({"requests": {"cpu": wanted}}, live) is expected


def test_text_outside_quantities_is_compared_as_text() -> None:
    assert not is_subset({"data": {"cpu": "0.5"}}, {"data": {"cpu": "500m"}})


def test_none_asks_for_absence() -> None:
    assert is_subset({"a": None}, {})
    assert list(differences({"a": None}, {"a": 1})) == ["a"]


def test_empty_containers_that_the_server_drops_make_no_difference() -> None:
    assert is_subset({"annotations": {}, "args": []}, {})


def test_true_is_not_one() -> None:
    assert not is_subset({"flag": True}, {"flag": 1})


def test_a_stamp_changes_with_the_intent_and_with_nothing_else() -> None:
    intent = a_deployment(env={"A": "1"})
    reordered = dict(reversed(list(intent.items())))

    stamp = stamped(intent, annotation=ANNOTATION)["metadata"]["annotations"][ANNOTATION]

    assert stamped(reordered, annotation=ANNOTATION)["metadata"]["annotations"][ANNOTATION] == stamp
    other = stamped(a_deployment(), annotation=ANNOTATION)
    assert other["metadata"]["annotations"][ANNOTATION] != stamp


def test_stamping_twice_changes_nothing_and_leaves_the_intent_alone() -> None:
    intent = a_deployment()
    before = copy.deepcopy(intent)

    once = stamped(intent, annotation=ANNOTATION)

    assert stamped(once, annotation=ANNOTATION) == once
    assert intent == before
    assert "annotations" not in intent["metadata"]
