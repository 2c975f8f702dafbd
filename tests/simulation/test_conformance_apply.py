"""What server-side apply does: the same claims about the simulator and about a real kube-apiserver."""

import copy

import pytest

from pilotage.kube import Conflict, Invalid, NotFound, differences, is_subset, stamped, version_of
from pilotage.kube.endpoint import Endpoint
from pilotage.kube.resources import CONFIG_MAPS, DEPLOYMENTS, SERVICES
from support.conformance import Subject, served, simulated
from support.gadgets import GADGETS, a_service


async def test_creates_what_is_not_there(subject: Subject) -> None:
    made = await subject.api.apply(GADGETS, subject.gadget(size=3))

    assert made["spec"] == {"size": 3, "mode": "Slow"}
    assert made["metadata"]["generation"] == 1


async def test_the_same_intent_again_makes_no_version(subject: Subject) -> None:
    for resource, intent in subject.examples():
        made = await subject.api.apply(resource, intent)
        again = await subject.api.apply(resource, intent)

        assert version_of(again) == version_of(made), resource


async def test_what_is_no_longer_said_goes(subject: Subject) -> None:
    await subject.api.apply(CONFIG_MAPS, subject.config_map(labels={"x": "1", "y": "2"}, a="1", b="2"))

    applied = await subject.api.apply(CONFIG_MAPS, subject.config_map(labels={"x": "1"}, a="1"))

    assert applied["data"] == {"a": "1"}
    assert applied["metadata"]["labels"] == {"x": "1"}


async def test_a_default_comes_back_when_the_value_is_no_longer_said(subject: Subject) -> None:
    await subject.api.apply(GADGETS, subject.gadget(size=3, mode="Fast"))

    applied = await subject.api.apply(GADGETS, subject.gadget(size=3))

    assert applied["spec"] == {"size": 3, "mode": "Slow"}


async def test_an_environment_variable_that_is_no_longer_said_goes(subject: Subject) -> None:
    await subject.api.apply(DEPLOYMENTS, subject.deployment(env={"A": "1", "B": "2"}))

    applied = await subject.api.apply(DEPLOYMENTS, subject.deployment(env={"B": "2"}))

    container = applied["spec"]["template"]["spec"]["containers"][0]
    assert [variable["name"] for variable in container["env"]] == ["POD_IP", "B"]


async def test_what_others_said_stays(subject: Subject) -> None:
    await subject.api.apply(CONFIG_MAPS, subject.config_map(a="1", b="2"))
    await subject.other.apply(CONFIG_MAPS, subject.config_map(b="2", c="3"))

    applied = await subject.api.apply(CONFIG_MAPS, subject.config_map(a="1"))

    assert applied["data"] == {"a": "1", "b": "2", "c": "3"}


async def test_what_others_wrote_otherwise_stays(subject: Subject) -> None:
    await subject.api.apply(CONFIG_MAPS, subject.config_map(a="1"))
    await subject.other.merge_patch(CONFIG_MAPS, subject.key(), {"data": {"z": "9"}})

    applied = await subject.api.apply(CONFIG_MAPS, subject.config_map(a="2"))

    assert applied["data"] == {"a": "2", "z": "9"}


async def test_a_field_that_somebody_changed_is_no_longer_ours_to_drop(subject: Subject) -> None:
    await subject.api.apply(CONFIG_MAPS, subject.config_map(a="1", b="2"))
    await subject.other.merge_patch(CONFIG_MAPS, subject.key(), {"data": {"b": "theirs"}})

    applied = await subject.api.apply(CONFIG_MAPS, subject.config_map(a="1"))

    assert applied["data"] == {"a": "1", "b": "theirs"}


async def test_force_takes_fields_over(subject: Subject) -> None:
    await subject.api.apply(CONFIG_MAPS, subject.config_map(a="1"))
    await subject.other.merge_patch(CONFIG_MAPS, subject.key(), {"data": {"a": "theirs"}})

    applied = await subject.api.apply(CONFIG_MAPS, subject.config_map(a="1"))
    dropped = await subject.api.apply(CONFIG_MAPS, subject.config_map(b="2"))

    assert applied["data"] == {"a": "1"}
    assert dropped["data"] == {"b": "2"}


async def test_without_force_a_field_of_others_conflicts(subject: Subject) -> None:
    await subject.other.apply(CONFIG_MAPS, subject.config_map(a="theirs"))

    with pytest.raises(Conflict, match="conflict"):
        await subject.api.apply(CONFIG_MAPS, subject.config_map(a="ours"), force=False)


async def test_agreeing_on_a_value_is_no_conflict(subject: Subject) -> None:
    await subject.other.apply(CONFIG_MAPS, subject.config_map(a="1"))

    applied = await subject.api.apply(CONFIG_MAPS, subject.config_map(a="1"), force=False)

    assert applied["data"] == {"a": "1"}


async def test_a_field_said_by_two_stays_until_both_let_go(subject: Subject) -> None:
    await subject.api.apply(CONFIG_MAPS, subject.config_map(a="1", shared="x"))
    await subject.other.apply(CONFIG_MAPS, subject.config_map(b="2", shared="x"))

    one_left = await subject.api.apply(CONFIG_MAPS, subject.config_map(a="1"))
    none_left = await subject.other.apply(CONFIG_MAPS, subject.config_map(b="2"))

    assert one_left["data"] == {"a": "1", "b": "2", "shared": "x"}
    assert none_left["data"] == {"a": "1", "b": "2"}


async def test_keyed_lists_merge_by_item(subject: Subject) -> None:
    await subject.other.apply(GADGETS, subject.gadget(gates=[{"name": "theirs", "floor": 0.5}]))

    both = await subject.api.apply(GADGETS, subject.gadget(gates=[{"name": "ours", "floor": 0.9}]))
    left = await subject.api.apply(GADGETS, subject.gadget(size=1))

    assert both["spec"]["gates"] == [{"name": "theirs", "floor": 0.5}, {"name": "ours", "floor": 0.9}]
    assert left["spec"]["gates"] == [{"name": "theirs", "floor": 0.5}]


async def test_atomic_lists_are_replaced(subject: Subject) -> None:
    await subject.api.apply(GADGETS, subject.gadget(steps=[{"weight": 10}, {"weight": 50}]))

    applied = await subject.api.apply(GADGETS, subject.gadget(steps=[{"weight": 20}]))

    assert applied["spec"]["steps"] == [{"weight": 20}]


async def test_selectors_are_replaced_whole(subject: Subject) -> None:
    here = subject.namespace
    await subject.api.apply(SERVICES, a_service(namespace=here, selector={"model": "a", "revision": "b"}))

    applied = await subject.api.apply(SERVICES, a_service(namespace=here, selector={"model": "a"}))

    assert applied["spec"]["selector"] == {"model": "a"}


async def test_status_is_not_applied(subject: Subject) -> None:
    made = await subject.api.apply(GADGETS, subject.gadget(size=1) | {"status": {"phase": "Ours"}})
    told = await subject.api.patch_status(
        GADGETS, subject.key(), {"phase": "Done"}, version=made["metadata"]["resourceVersion"]
    )

    applied = await subject.api.apply(GADGETS, subject.gadget(size=2))

    assert "status" not in made
    assert applied["status"] == told["status"] == {"phase": "Done"}


async def test_an_intent_with_a_stale_version_conflicts(subject: Subject) -> None:
    stale = await subject.api.apply(CONFIG_MAPS, subject.config_map(a="1"))
    await subject.api.apply(CONFIG_MAPS, subject.config_map(a="2"))
    intent = subject.config_map(a="3")
    intent["metadata"]["resourceVersion"] = stale["metadata"]["resourceVersion"]

    with pytest.raises(Conflict):
        await subject.api.apply(CONFIG_MAPS, intent)


async def test_an_intent_with_managed_fields_is_refused(subject: Subject) -> None:
    live = await subject.api.apply(CONFIG_MAPS, subject.config_map(a="1"))

    with pytest.raises(Invalid, match="managedFields"):
        await subject.api.apply(CONFIG_MAPS, live)


async def test_an_intent_of_an_unknown_kind_is_not_found(subject: Subject) -> None:
    intent = subject.gadget() | {"kind": "Widget"}
    unknown = type(GADGETS)(group="test.pilotage.dev", version="v1", plural="widgets", kind="Widget")

    with pytest.raises(NotFound):
        await subject.api.apply(unknown, intent)


async def test_an_immutable_field_is_refused_by_name(subject: Subject) -> None:
    await subject.api.apply(DEPLOYMENTS, subject.deployment())
    intent = subject.deployment()
    intent["spec"]["selector"] = {"matchLabels": {"pilotage.dev/model": "digits"}}

    with pytest.raises(Invalid, match="immutable") as refused:
        await subject.api.apply(DEPLOYMENTS, intent)

    assert [cause.field for cause in refused.value.causes] == ["spec.selector"]


async def test_an_intent_is_a_subset_of_what_the_server_made_of_it(subject: Subject) -> None:
    for resource, intent in subject.examples():
        wanted = stamped(intent, annotation="pilotage.dev/intent")

        live = await subject.api.apply(resource, wanted)

        assert list(differences(wanted, live)) == [], resource
        assert list(differences(wanted, await subject.api.get(resource, subject.key()))) == []


async def test_a_hand_edit_is_a_difference(subject: Subject) -> None:
    intent = subject.deployment(replicas=2)
    await subject.api.apply(DEPLOYMENTS, intent)

    edited = await subject.other.merge_patch(DEPLOYMENTS, subject.key(), {"spec": {"replicas": 5}})

    assert list(differences(intent, edited)) == ["spec.replicas"]
    assert is_subset(intent, await subject.api.apply(DEPLOYMENTS, intent))


async def test_an_intent_that_says_less_differs_by_its_stamp(subject: Subject) -> None:
    more = stamped(subject.deployment(env={"A": "1", "B": "2"}), annotation="pilotage.dev/intent")
    less = stamped(subject.deployment(env={"A": "1"}), annotation="pilotage.dev/intent")

    live = await subject.api.apply(DEPLOYMENTS, more)

    assert list(differences(less, live)) == ["metadata.annotations.pilotage.dev/intent"]


@pytest.mark.clouds
async def test_the_simulator_makes_of_an_intent_what_the_server_makes(real_endpoint: Endpoint) -> None:
    async with served(real_endpoint) as real:
        sim = simulated()
        for (resource, here), (_, there) in zip(sim.examples(), real.examples(), strict=True):
            simulated_object = await sim.api.apply(resource, here)
            real_object = await real.api.apply(resource, there)

            assert _comparable(simulated_object) == _comparable(real_object), resource


def _comparable(found: dict[str, object]) -> dict[str, object]:
    """Leave out what differs between any two clusters."""
    spec = copy.deepcopy(found.get("spec", found.get("data")))
    if isinstance(spec, dict):
        for name in ("clusterIP", "clusterIPs"):
            spec.pop(name, None)
    return {"spec": spec, "generation": found["metadata"].get("generation")}  # type: ignore[attr-defined]
