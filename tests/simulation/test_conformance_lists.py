"""What lists hold: the same claims about the simulator and about a real kube-apiserver."""

import pytest

from pilotage.kube import Key, Object, version_of
from pilotage.kube.resources import CONFIG_MAPS
from support.conformance import Subject
from support.gadgets import GADGETS


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("", {"a", "b", "c"}),
        ("tier=web", {"a"}),
        ("tier==web", {"a"}),
        ("tier!=web", {"b", "c"}),
        ("tier", {"a", "b"}),
        ("!tier", {"c"}),
        ("tier in (web,db)", {"a", "b"}),
        ("tier notin (web)", {"b", "c"}),
        ("tier=db,zone=x", {"b"}),
        ("tier=db,zone=y", set()),
    ],
)
async def test_labels_select(subject: Subject, selector: str, expected: set[str]) -> None:
    await subject.api.create(CONFIG_MAPS, subject.config_map("a", labels={"tier": "web"}))
    await subject.api.create(CONFIG_MAPS, subject.config_map("b", labels={"tier": "db", "zone": "x"}))
    await subject.api.create(CONFIG_MAPS, subject.config_map("c"))

    listing = await subject.api.list(CONFIG_MAPS, namespace=subject.namespace, labels=selector)

    assert {item["metadata"]["name"] for item in listing.items} - {"kube-root-ca.crt"} == expected


async def test_fields_select(subject: Subject) -> None:
    for name in ("a", "b"):
        await subject.api.create(CONFIG_MAPS, subject.config_map(name))

    listing = await subject.api.list(CONFIG_MAPS, namespace=subject.namespace, fields="metadata.name=b")

    assert [item["metadata"]["name"] for item in listing.items] == ["b"]


async def test_listed_objects_are_whole_but_for_managed_fields(subject: Subject) -> None:
    made = [await subject.api.create(GADGETS, subject.gadget(name)) for name in ("a", "b")]

    listing = await subject.api.list(GADGETS, namespace=subject.namespace)

    assert list(listing.items) == [_slim(found) for found in made]
    assert int(listing.version) >= max(version_of(found) for found in made)


async def test_keys_are_listed_with_their_versions(subject: Subject) -> None:
    made = [await subject.api.create(GADGETS, subject.gadget(name)) for name in ("a", "b")]

    listing = await subject.api.list_keys(GADGETS, namespace=subject.namespace)

    assert listing.versions == {Key.of(found): version_of(found) for found in made}


async def test_an_empty_namespace_lists_all(subject: Subject) -> None:
    await subject.api.create(GADGETS, subject.gadget())

    listing = await subject.api.list(GADGETS)

    assert subject.key() in {Key.of(item) for item in listing.items}


def _slim(found: Object) -> Object:
    return {**found, "metadata": {n: v for n, v in found["metadata"].items() if n != "managedFields"}}
