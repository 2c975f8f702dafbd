"""The charts' life on a real API server: installed, upgraded, uninstalled, and what each leaves behind."""

from __future__ import annotations

import base64
import uuid
from pathlib import Path

from localclouds import Cloud
from localclouds.helm import Helm
from pilotage.api.types import ProxiedService
from pilotage.engine.proxied import path_of
from support.clouds import get, try_kubectl

ROOT = Path(__file__).parents[2]
KEYS = {"bundleKeys": {"team.pub": "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n"}}
OTHER = {"bundleKeys": {"other.pub": "-----BEGIN PUBLIC KEY-----\nAyEAMCowBQYDK2Vw\n-----END PUBLIC KEY-----\n"}}


def a_namespace() -> str:
    return f"chart-{uuid.uuid4().hex[:8]}"


def test_the_member_s_bundle_keeps_its_feedback_key_over_upgrades_and_uninstall(hub: Cloud):
    helm, namespace = Helm(kubeconfig=hub.kubeconfig), a_namespace()
    chart = ROOT / "charts" / "pilotage-member"

    helm.install("member", chart, namespace=namespace, values=KEYS, wait=False)
    first = get(hub, "secret", "pilotage-feedback-key", "-n", namespace)["data"]
    helm.upgrade("member", chart, namespace=namespace, values=OTHER, wait=False)
    second = get(hub, "secret", "pilotage-feedback-key", "-n", namespace)["data"]
    keys = get(hub, "configmap", "pilotage-bundle-keys", "-n", namespace)["data"]
    helm.uninstall("member", namespace=namespace)

    assert len(base64.b64decode(first["k1"])) == 32
    assert second == first
    assert list(keys) == ["other.pub"]
    assert get(hub, "secret", "pilotage-feedback-key", "-n", namespace)["data"] == first
    assert try_kubectl(hub, "get", "role", "pilotage-hub", "-n", namespace).returncode != 0
    assert try_kubectl(hub, "get", "role", "-n", "kube-system", f"{namespace}-pilotage-hub-identity").returncode != 0


def test_the_hub_s_account_in_a_member_may_do_its_work_there_and_nothing_else(hub: Cloud):
    helm, namespace = Helm(kubeconfig=hub.kubeconfig), a_namespace()
    helm.install("member", ROOT / "charts" / "pilotage-member", namespace=namespace, values=KEYS, wait=False)
    account = f"system:serviceaccount:{namespace}:pilotage-hub"

    def may(*question: str) -> bool:
        return try_kubectl(hub, "auth", "can-i", "--as", account, *question).stdout.strip() == "yes"

    assert may("patch", "deployments.apps", "-n", namespace)
    assert may("get", "namespaces/kube-system", "-n", "kube-system")
    assert not may("patch", "deployments.apps", "-n", "default")
    assert not may("get", "secrets", "-n", namespace)
    assert not may("create", "pods", "-n", namespace)
    assert not may("create", "pods/exec", "-n", namespace)
    assert not may("list", "namespaces")


def test_the_hub_s_account_may_ask_the_prometheus_that_the_chart_names_and_no_other_service(hub: Cloud):
    helm, namespace = Helm(kubeconfig=hub.kubeconfig), a_namespace()
    proxy = {"prometheusProxy": {"namespace": "default", "name": "prometheus", "port": 9090}}
    helm.install("member", ROOT / "charts" / "pilotage-member", namespace=namespace, values=KEYS | proxy, wait=False)
    account = f"system:serviceaccount:{namespace}:pilotage-hub"

    def may(verb: str, service: str) -> bool:
        asked = ("auth", "can-i", "--as", account, verb, f"services/{service}", "--subresource=proxy", "-n", "default")
        return try_kubectl(hub, *asked).stdout.strip() == "yes"

    assert path_of(ProxiedService(namespace="default", name="prometheus", port="9090")) == (
        "/api/v1/namespaces/default/services/http:prometheus:9090/proxy/api/v1/query"
    )
    assert may("get", "http:prometheus:9090")
    assert not may("create", "http:prometheus:9090")
    assert not may("get", "http:prometheus:8080")
    assert not may("get", "http:grafana:9090")
    helm.uninstall("member", namespace=namespace)


def test_uninstalling_the_operator_keeps_the_crds_and_every_object_of_theirs(hub: Cloud):
    helm, namespace = Helm(kubeconfig=hub.kubeconfig), a_namespace()
    values = {"crds": {"install": False}, "fullnameOverride": namespace}
    chart = ROOT / "charts" / "pilotage"

    helm.install("pilotage", chart, namespace=namespace, values=values, wait=False)
    helm.upgrade("pilotage", chart, namespace=namespace, values={**values, "controller": {"replicas": 1}}, wait=False)
    replicas = get(hub, "deployment", namespace, "-n", namespace)["spec"]["replicas"]
    helm.uninstall("pilotage", namespace=namespace)

    assert replicas == 1
    assert try_kubectl(hub, "get", "deployment", namespace, "-n", namespace).returncode != 0
    assert try_kubectl(hub, "get", "clusterrole", namespace).returncode != 0
    assert try_kubectl(hub, "get", "crd", "modeldeployments.pilotage.dev").returncode == 0
