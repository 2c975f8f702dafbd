"""The rules of the cache: newer wins, deletions are not missed, nothing is shared by accident."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pilotage.kube import Key, Manifest
from pilotage.kube.store import Change, Store


def an_object(name: str = "a", *, version: int, owner: str = "", **more: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {"namespace": "models", "name": name, "resourceVersion": str(version)}
    if owner:
        metadata["labels"] = {"owner": owner}
    return {"metadata": metadata, **more}


def by_label(found: Manifest) -> str | None:
    owner: str | None = (found["metadata"].get("labels") or {}).get("owner")
    return owner


def key(name: str = "a") -> Key:
    return Key("models", name)


def test_a_newer_version_replaces_an_older_one() -> None:
    store = Store()
    store.put(an_object(version=1, spec=1))

    change = store.put(an_object(version=2, spec=2))

    assert change is not None
    assert (change.old, change.new) == (an_object(version=1, spec=1), an_object(version=2, spec=2))


def test_a_late_event_does_not_undo_the_answer_to_a_write() -> None:
    store = Store()
    store.put(an_object(version=5, spec="answer"))

    assert store.put(an_object(version=4, spec="late event")) is None
    assert store.put(an_object(version=5, spec="echo")) is None
    assert store.get(key()) == an_object(version=5, spec="answer")


def test_a_late_deletion_does_not_take_a_namesake_away() -> None:
    store = Store()
    store.put(an_object(version=9, uid="new"))

    assert store.drop(an_object(version=7, uid="old")) is None
    assert key() in store


def test_a_deletion_is_reported_once() -> None:
    store = Store()
    store.put(an_object(version=1))

    assert store.drop(an_object(version=2)) == Change(key=key(), old=an_object(version=1), new=None)
    assert store.drop(an_object(version=2)) is None


def test_what_a_list_lacks_is_gone() -> None:
    store = Store()
    for name in ("a", "b", "c"):
        store.put(an_object(name, version=1))

    gone = list(store.drop_absent([key("b")], "10"))

    assert [change.key for change in gone] == [key("a"), key("c")]
    assert store.keys() == (key("b"),)


def test_what_was_written_after_the_list_stays() -> None:
    store = Store()
    store.put(an_object("a", version=11))

    assert list(store.drop_absent([], "10")) == []
    assert key("a") in store


def test_owners_are_found_and_forgotten() -> None:
    store = Store(by_label)
    store.put(an_object("b", version=1, owner="x"))
    store.put(an_object("a", version=1, owner="x"))
    store.put(an_object("c", version=1))

    assert [Key.of(found).name for found in store.by_owner("x")] == ["a", "b"]
    assert store.owners() == ("x",)

    store.put(an_object("a", version=2, owner="y"))
    store.drop(an_object("b", version=2, owner="x"))

    assert store.by_owner("x") == ()
    assert store.owners() == ("y",)


def test_bulk_that_nobody_reads_is_not_kept_and_the_given_object_stays_whole() -> None:
    store = Store()
    found = an_object(version=1)
    found["metadata"] |= {
        "managedFields": [{"manager": "x"}],
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "kept": "yes"},
    }

    store.put(found)

    kept = store.get(key())
    assert kept is not None
    assert kept["metadata"] == an_object(version=1)["metadata"] | {"annotations": {"kept": "yes"}}
    assert "managedFields" in found["metadata"]


@given(st.permutations(range(1, 7)))
def test_the_order_of_arrival_does_not_matter(order: list[int]) -> None:
    store = Store()
    for version in order:
        store.put(an_object(version=version, spec=version))

    assert store.get(key()) == an_object(version=6, spec=6)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 20), st.booleans(), st.sampled_from(["", "x", "y"]))))
def test_the_index_agrees_with_the_objects(steps: list[tuple[str, int, bool, str]]) -> None:
    store = Store(by_label)
    for name, version, is_deletion, owner in steps:
        found = an_object(name, version=version, owner=owner)
        if is_deletion:
            store.drop(found)
        else:
            store.put(found)

    for owner in ("x", "y"):
        assert store.by_owner(owner) == tuple(found for found in store.objects() if by_label(found) == owner)
