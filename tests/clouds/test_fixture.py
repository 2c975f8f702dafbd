from localclouds import Cloud
from support.clouds import apply, get, kubectl


def test_the_hub_serves_our_kinds(hub: Cloud) -> None:
    kinds = kubectl(hub, "api-resources", "--api-group=pilotage.dev", "-o", "name").split()
    assert sorted(kinds) == [
        "memberclusters.pilotage.dev",
        "modeldeployments.pilotage.dev",
        "modelrevisions.pilotage.dev",
    ]


def test_a_namespace_belongs_to_one_test(hub: Cloud, namespace: str) -> None:
    apply(
        hub,
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "note"}, "data": {"a": "b"}},
        namespace=namespace,
    )
    assert get(hub, "-n", namespace, "configmap", "note")["data"] == {"a": "b"}
