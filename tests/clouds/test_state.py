"""What is written down about a cloud, and read by its parts, its clients and its Prometheus."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from localclouds import ALL_COMPONENTS, CONTROL_PLANE, Component, NotRunning, kubeconfig, scrape
from localclouds.blueprint import prepare
from localclouds.components import OFF_CONTROLLERS, command
from localclouds.plan import Plan, Wish
from localclouds.state import Facts, read_facts


@pytest.fixture
def facts(tmp_path: Path) -> Facts:
    """A cloud that was prepared and never started."""
    return facts_of(tmp_path, ALL_COMPONENTS)


def facts_of(state: Path, components: tuple[Component, ...]) -> Facts:
    blueprint = prepare(state, "feedfacecafe", Wish(name="aws", components=components, scrape_interval_s=0.5))
    blueprint.claim.release()
    return blueprint.facts


def test_facts_are_read_as_they_were_written(facts: Facts) -> None:
    assert read_facts(facts.path) == facts


def test_no_facts_say_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(NotRunning, match=r"cloud.json: no such file; start clouds with `localclouds up`"):
        read_facts(tmp_path)


def test_facts_carry_what_the_other_parts_were_promised(facts: Facts) -> None:
    document = json.loads((facts.path / "cloud.json").read_text())

    promised = {"name", "api_server", "kubeconfig", "ca_file", "prometheus", "gateway", "pod_cidr", "service_cidr"}
    assert promised <= document.keys()
    assert document["gateway"] == f"http://{facts.gateway_address}"
    assert set(document["identities"]) >= {"admin", "node", "prometheus", "gateway"}


def test_outsiders_get_other_addresses_than_the_clouds_own_programs(facts: Facts) -> None:
    outside = yaml.safe_load(Path(facts.outside.kubeconfig).read_text())["clusters"][0]["cluster"]["server"]
    inside = yaml.safe_load(Path(facts.kubeconfig).read_text())["clusters"][0]["cluster"]["server"]

    assert outside == facts.outside.api_server
    assert inside == facts.api_server
    assert len({outside, inside, facts.prometheus, facts.outside.prometheus}) == 4


def test_without_a_front_there_is_one_address(tmp_path: Path) -> None:
    facts = facts_of(tmp_path, CONTROL_PLANE)

    assert facts.outside.api_server == facts.api_server
    assert facts.outside.prometheus == facts.prometheus


def test_kubeconfigs_stand_alone(facts: Facts) -> None:
    document = yaml.safe_load(Path(facts.outside.kubeconfig).read_text())

    assert document["current-context"] == "aws"
    assert set(document["clusters"][0]["cluster"]) == {"server", "certificate-authority-data"}
    assert set(document["users"][0]["user"]) == {"client-certificate-data", "client-key-data"}


def test_the_first_of_several_contexts_is_the_current_one() -> None:
    clouds = [
        kubeconfig.Access(context=name, server=f"https://{name}", ca=b"ca", cert=b"cert", key=b"key")
        for name in ("hub", "aws")
    ]

    document = kubeconfig.document(clouds)

    assert document["current-context"] == "hub"
    assert [entry["name"] for entry in document["contexts"]] == ["hub", "aws"]


def test_a_plan_survives_its_way_to_the_supervisor(tmp_path: Path) -> None:
    plan = Plan(
        state=tmp_path,
        owner=17,
        wishes=(Wish(name="aws", components=CONTROL_PLANE, scrape_interval_s=0.5),),
        programs={"etcd": tmp_path / "etcd"},
        crds=None,
    )

    assert Plan.decode(plan.encode()) == plan


def test_prometheus_scrapes_at_the_interval_asked_for(facts: Facts) -> None:
    config = yaml.safe_load(scrape.configuration(facts))

    assert config["global"]["scrape_interval"] == "500ms"
    assert config["global"]["scrape_timeout"] == "500ms"
    assert [job["job_name"] for job in config["scrape_configs"]] == ["pods", "gateway"]


def test_only_namespace_and_pod_are_added_to_what_pods_export(facts: Facts) -> None:
    pods = yaml.safe_load(scrape.configuration(facts))["scrape_configs"][0]

    assert pods["honor_labels"] is False
    added = {rule["target_label"] for rule in pods["relabel_configs"] if "target_label" in rule}
    assert added == {"__address__", "__metrics_path__", "namespace", "pod"}


def test_a_cloud_without_a_gateway_does_not_scrape_one(tmp_path: Path) -> None:
    config = yaml.safe_load(scrape.configuration(facts_of(tmp_path, CONTROL_PLANE)))

    assert [job["job_name"] for job in config["scrape_configs"]] == ["pods"]


@pytest.mark.parametrize("component", ALL_COMPONENTS, ids=str)
def test_no_component_listens_or_connects_outside_loopback(facts: Facts, component: Component) -> None:
    programs = {str(each): Path("/bin") / each for each in ALL_COMPONENTS}

    words = " ".join(command(component, facts, programs))

    assert "0.0.0.0" not in words
    assert "[::]" not in words
    assert all(part.startswith("127.") for part in _hosts(words))


def test_controllers_that_refuse_loopback_pods_are_off(facts: Facts) -> None:
    words = command(Component.CONTROLLER_MANAGER, facts, {"kube-controller-manager": Path("kcm")})

    (chosen,) = [word for word in words if word.startswith("--controllers=")]
    assert chosen.startswith("--controllers=*,-")
    assert {"endpoints-controller", "endpointslice-controller"} <= set(OFF_CONTROLLERS)


def _hosts(words: str) -> list[Any]:
    return [
        part.split(":")[0] for part in words.replace("https://", "http://").split("http://")[1:] if part[0].isdigit()
    ]
