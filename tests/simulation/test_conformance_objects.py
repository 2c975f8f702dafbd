"""What an API server does with objects: the same claims about the simulator and about a real kube-apiserver."""

from typing import Any

import pytest

from pilotage.kube import (
    AlreadyExists,
    Conflict,
    Invalid,
    NotFound,
    Object,
    Resource,
    Unavailable,
    version_of,
)
from pilotage.kube.resources import CONFIG_MAPS, DEPLOYMENTS, LEASES
from support.conformance import Subject
from support.gadgets import GADGETS


async def test_create_gives_identity_version_and_generation(subject: Subject) -> None:
    made = await subject.api.create(GADGETS, subject.gadget(size=3))

    assert made["metadata"]["uid"]
    assert made["metadata"]["creationTimestamp"].endswith("Z")
    assert made["metadata"]["generation"] == 1
    assert version_of(made) > 0
    assert await subject.api.get(GADGETS, subject.key()) == made


async def test_create_leaves_out_status(subject: Subject) -> None:
    made = await subject.api.create(GADGETS, subject.gadget() | {"status": {"phase": "Done"}})

    assert "status" not in made


async def test_create_refuses_a_name_that_is_taken(subject: Subject) -> None:
    await subject.api.create(CONFIG_MAPS, subject.config_map())

    with pytest.raises(AlreadyExists, match="already exists"):
        await subject.api.create(CONFIG_MAPS, subject.config_map())


async def test_create_refuses_a_version(subject: Subject) -> None:
    manifest = subject.config_map()
    manifest["metadata"]["resourceVersion"] = "7"

    # a real server calls this mistake its own and answers 500
    with pytest.raises(Unavailable, match="resourceVersion"):
        await subject.api.create(CONFIG_MAPS, manifest)


async def test_create_refuses_an_object_without_a_name(subject: Subject) -> None:
    with pytest.raises(Invalid, match="name"):
        await subject.api.create(CONFIG_MAPS, subject.config_map(""))


async def test_create_refuses_another_kind_than_the_path_says(subject: Subject) -> None:
    with pytest.raises(Invalid):
        await subject.api.create(CONFIG_MAPS, subject.gadget())


async def test_names_can_be_generated(subject: Subject) -> None:
    manifest = subject.config_map("")
    manifest["metadata"] = {"generateName": "some-", "namespace": subject.namespace}

    made = await subject.api.create(CONFIG_MAPS, manifest)

    assert made["metadata"]["name"].startswith("some-")
    assert len(made["metadata"]["name"]) > len("some-")


async def test_versions_grow_across_objects(subject: Subject) -> None:
    made = [await subject.api.create(CONFIG_MAPS, subject.config_map(f"cm-{n}")) for n in range(3)]

    versions = [version_of(found) for found in made]
    assert versions == sorted(set(versions))


async def test_what_does_not_exist_is_not_found(subject: Subject) -> None:
    with pytest.raises(NotFound, match="not found"):
        await subject.api.get(CONFIG_MAPS, subject.key("nobody"))
    with pytest.raises(NotFound):
        await subject.api.delete(CONFIG_MAPS, subject.key("nobody"))
    with pytest.raises(NotFound):
        await subject.api.replace(CONFIG_MAPS, subject.config_map("nobody"))
    with pytest.raises(NotFound):
        await subject.api.merge_patch(CONFIG_MAPS, subject.key("nobody"), {"data": {"a": "b"}})
    with pytest.raises(NotFound):
        await subject.api.patch_status(GADGETS, subject.key("nobody"), {"phase": "x"}, version="1")


async def test_a_kind_that_is_not_served_is_not_found(subject: Subject) -> None:
    unknown = Resource(group="test.pilotage.dev", version="v1", plural="widgets", kind="Widget")

    with pytest.raises(NotFound):
        await subject.api.list(unknown, namespace=subject.namespace)


async def test_a_replace_from_a_stale_version_conflicts(subject: Subject) -> None:
    stale = await subject.api.create(GADGETS, subject.gadget(size=1))
    await subject.api.merge_patch(GADGETS, subject.key(), {"spec": {"size": 2}})

    with pytest.raises(Conflict, match="modified"):
        await subject.api.replace(GADGETS, stale)


@pytest.mark.parametrize("resource", [GADGETS, LEASES], ids=str)
async def test_some_kinds_insist_on_a_version_in_a_replace(subject: Subject, resource: Resource) -> None:
    manifest: dict[str, Any] = {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": "one", "namespace": subject.namespace},
        "spec": {},
    }
    await subject.api.create(resource, manifest)

    with pytest.raises(Invalid, match=r"metadata\.resourceVersion"):
        await subject.api.replace(resource, manifest)


async def test_a_replace_without_a_version_is_unconditional_for_a_config_map(subject: Subject) -> None:
    await subject.api.create(CONFIG_MAPS, subject.config_map(a="1"))

    replaced = await subject.api.replace(CONFIG_MAPS, subject.config_map(b="2"))

    assert replaced["data"] == {"b": "2"}


async def test_a_write_that_changes_nothing_makes_no_version(subject: Subject) -> None:
    made = await subject.api.create(GADGETS, subject.gadget(size=3))

    replaced = await subject.api.replace(GADGETS, made)
    patched = await subject.api.merge_patch(GADGETS, subject.key(), {"spec": {"size": 3}})

    assert version_of(replaced) == version_of(patched) == version_of(made)


async def test_only_the_spec_counts_generations(subject: Subject) -> None:
    made = await subject.api.create(GADGETS, subject.gadget(size=1))

    labelled = await subject.api.merge_patch(GADGETS, subject.key(), {"metadata": {"labels": {"a": "b"}}})
    told = await subject.api.patch_status(
        GADGETS, subject.key(), {"phase": "Done"}, version=labelled["metadata"]["resourceVersion"]
    )
    resized = await subject.api.merge_patch(GADGETS, subject.key(), {"spec": {"size": 2}})

    generations = [found["metadata"]["generation"] for found in (made, labelled, told, resized)]
    assert generations == [1, 1, 1, 2]
    assert version_of(made) < version_of(labelled) < version_of(told) < version_of(resized)


async def test_a_status_patch_changes_status_only(subject: Subject) -> None:
    made = await subject.api.create(GADGETS, subject.gadget(size=1))

    told = await subject.api.patch_status(
        GADGETS,
        subject.key(),
        {"phase": "Done", "marks": {"a": "1", "b": "2"}},
        version=made["metadata"]["resourceVersion"],
    )
    less = await subject.api.patch_status(
        GADGETS,
        subject.key(),
        {"phase": None, "marks": {"a": None}},
        version=told["metadata"]["resourceVersion"],
    )

    assert told["spec"] == made["spec"]
    assert told["status"] == {"phase": "Done", "marks": {"a": "1", "b": "2"}}
    assert less["status"] == {"marks": {"b": "2"}}


async def test_a_status_patch_from_a_stale_version_conflicts(subject: Subject) -> None:
    stale = await subject.api.create(GADGETS, subject.gadget(size=1))
    await subject.api.merge_patch(GADGETS, subject.key(), {"spec": {"size": 2}})

    with pytest.raises(Conflict):
        await subject.api.patch_status(
            GADGETS, subject.key(), {"phase": "Done"}, version=stale["metadata"]["resourceVersion"]
        )


async def test_a_status_patch_that_says_nothing_new_makes_no_version(subject: Subject) -> None:
    made = await subject.api.create(GADGETS, subject.gadget())
    told = await subject.api.patch_status(
        GADGETS, subject.key(), {"phase": "Done"}, version=made["metadata"]["resourceVersion"]
    )

    again = await subject.api.patch_status(
        GADGETS, subject.key(), {"phase": "Done"}, version=told["metadata"]["resourceVersion"]
    )

    assert version_of(again) == version_of(told)


async def test_the_object_itself_cannot_write_its_status(subject: Subject) -> None:
    made = await subject.api.create(GADGETS, subject.gadget())
    told = await subject.api.patch_status(
        GADGETS, subject.key(), {"phase": "Done"}, version=made["metadata"]["resourceVersion"]
    )

    replaced = await subject.api.replace(GADGETS, told | {"status": {"phase": "Other"}})

    assert replaced["status"] == {"phase": "Done"}
    assert version_of(replaced) == version_of(told)


async def test_a_merge_patch_removes_what_is_none(subject: Subject) -> None:
    await subject.api.create(CONFIG_MAPS, subject.config_map(a="1", b="2"))

    patched = await subject.api.merge_patch(CONFIG_MAPS, subject.key(), {"data": {"a": None, "c": "3"}})

    assert patched["data"] == {"b": "2", "c": "3"}


async def test_a_merge_patch_can_be_guarded_by_a_version(subject: Subject) -> None:
    stale = await subject.api.create(CONFIG_MAPS, subject.config_map(a="1"))
    await subject.api.merge_patch(CONFIG_MAPS, subject.key(), {"data": {"a": "2"}})

    patch = {"metadata": {"resourceVersion": stale["metadata"]["resourceVersion"]}, "data": {"a": "3"}}
    with pytest.raises(Conflict):
        await subject.api.merge_patch(CONFIG_MAPS, subject.key(), patch)


async def test_a_json_patch_does_all_or_nothing(subject: Subject) -> None:
    await subject.api.create(CONFIG_MAPS, subject.config_map(a="1"))

    with pytest.raises(Invalid):
        await subject.api.json_patch(
            CONFIG_MAPS,
            subject.key(),
            [
                {"op": "add", "path": "/data/b", "value": "2"},
                {"op": "test", "path": "/data/a", "value": "other"},
            ],
        )
    patched = await subject.api.json_patch(
        CONFIG_MAPS,
        subject.key(),
        [
            {"op": "test", "path": "/data/a", "value": "1"},
            {"op": "replace", "path": "/data/a", "value": "one"},
            {"op": "add", "path": "/metadata/labels", "value": {"example.com/x": "y"}},
        ],
    )

    assert patched["data"] == {"a": "one"}
    assert patched["metadata"]["labels"] == {"example.com/x": "y"}


async def test_a_json_patch_test_of_the_version_guards_finalizers(subject: Subject) -> None:
    stale = await subject.api.create(GADGETS, subject.gadget())
    await subject.api.merge_patch(GADGETS, subject.key(), {"spec": {"size": 2}})

    guard = {"op": "test", "path": "/metadata/resourceVersion", "value": stale["metadata"]["resourceVersion"]}
    add = {"op": "add", "path": "/metadata/finalizers", "value": ["pilotage.dev/cleanup"]}
    with pytest.raises(Invalid):
        await subject.api.json_patch(GADGETS, subject.key(), [guard, add])


async def test_deletion_is_at_once_without_finalizers(subject: Subject) -> None:
    await subject.api.create(CONFIG_MAPS, subject.config_map())

    await subject.api.delete(CONFIG_MAPS, subject.key())

    with pytest.raises(NotFound):
        await subject.api.get(CONFIG_MAPS, subject.key())


async def test_deletion_can_be_guarded_by_uid(subject: Subject) -> None:
    made = await subject.api.create(CONFIG_MAPS, subject.config_map())

    with pytest.raises(Conflict):
        await subject.api.delete(CONFIG_MAPS, subject.key(), uid="00000000-0000-0000-0000-000000000000")
    await subject.api.delete(CONFIG_MAPS, subject.key(), uid=made["metadata"]["uid"])


async def test_a_finalizer_holds_deletion_until_it_is_gone(subject: Subject) -> None:
    made = await _with_finalizer(subject)
    await subject.api.delete(GADGETS, subject.key())
    await subject.api.delete(GADGETS, subject.key())

    held = await subject.api.get(GADGETS, subject.key())
    released = await subject.api.merge_patch(GADGETS, subject.key(), {"metadata": {"finalizers": []}})

    assert held["metadata"]["deletionTimestamp"]
    assert held["metadata"]["generation"] == made["metadata"]["generation"] + 1
    assert released["metadata"]["uid"] == made["metadata"]["uid"]
    with pytest.raises(NotFound):
        await subject.api.get(GADGETS, subject.key())


async def test_no_finalizer_is_added_to_what_is_being_deleted(subject: Subject) -> None:
    await _with_finalizer(subject)
    await subject.api.delete(GADGETS, subject.key())

    patch = {"metadata": {"finalizers": ["pilotage.dev/cleanup", "example.com/other"]}}
    with pytest.raises(Invalid, match="finalizers"):
        await subject.api.merge_patch(GADGETS, subject.key(), patch)


async def test_status_can_be_told_while_deletion_is_held(subject: Subject) -> None:
    await _with_finalizer(subject)
    await subject.api.delete(GADGETS, subject.key())
    held = await subject.api.get(GADGETS, subject.key())

    told = await subject.api.patch_status(
        GADGETS, subject.key(), {"phase": "Leaving"}, version=held["metadata"]["resourceVersion"]
    )

    assert told["status"] == {"phase": "Leaving"}


async def test_a_name_can_be_used_again_by_a_new_object(subject: Subject) -> None:
    first = await subject.api.create(CONFIG_MAPS, subject.config_map())
    await subject.api.delete(CONFIG_MAPS, subject.key())

    second = await subject.api.create(CONFIG_MAPS, subject.config_map())

    assert second["metadata"]["uid"] != first["metadata"]["uid"]
    assert version_of(second) > version_of(first)


async def test_a_schema_fills_in_prunes_and_refuses(subject: Subject) -> None:
    made = await subject.api.create(GADGETS, subject.gadget(unknown="x", steps=[{}]))

    assert made["spec"] == {"size": 1, "mode": "Slow", "steps": [{"weight": 10}]}
    with pytest.raises(Invalid) as refused:
        await subject.api.create(GADGETS, subject.gadget("two", mode="Sideways", size=-1))
    assert {cause.field for cause in refused.value.causes} == {"spec.mode", "spec.size"}


async def test_a_deployment_whose_selector_misses_its_pods_is_refused(subject: Subject) -> None:
    manifest = subject.deployment()
    manifest["spec"]["template"]["metadata"]["labels"] = {"other": "label"}

    with pytest.raises(Invalid) as refused:
        await subject.api.create(DEPLOYMENTS, manifest)

    assert "spec.template.metadata.labels" in {cause.field for cause in refused.value.causes}


async def _with_finalizer(subject: Subject) -> Object:
    manifest = subject.gadget()
    manifest["metadata"]["finalizers"] = ["pilotage.dev/cleanup"]
    return await subject.api.create(GADGETS, manifest)
