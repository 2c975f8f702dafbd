"""The charts as users render them: valid objects, refused values, and the rights each grants, verb by verb."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from localclouds.errors import HelmFailed
from localclouds.helm import Helm

ROOT = Path(__file__).parents[2]
OPERATOR, MEMBER = ROOT / "charts" / "pilotage", ROOT / "charts" / "pilotage-member"
KEYS = {"bundleKeys": {"team.pub": "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n"}}
OURS = {"CustomResourceDefinition", "ServiceMonitor"}
"""Kinds whose schema is not Kubernetes' own; the API server checks CRDs in tests/crds."""


def rendered(chart: Path, values: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    text = Helm().template("pilotage", chart, namespace="pilotage", values=values)
    return [document for document in yaml.safe_load_all(text) if document]


def of_kind(objects: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [each for each in objects if each["kind"] == kind]


VALUES = [
    {},
    {"controller": {"replicas": 1, "pdb": {"enabled": False}}},
    {"crds": {"install": False}, "createClusterAggregateRoles": False, "networkPolicy": {"create": False}},
    {"controller": {"metrics": {"serviceMonitor": {"enabled": True, "additionalLabels": {"team": "ml"}}}}},
    {
        "controller": {
            "image": {"repository": "mirror.example.com/pilotage/operator", "digest": "sha256:" + "0" * 64},
            "nodeSelector": {"kubernetes.io/os": "linux"},
            "tolerations": [{"operator": "Exists"}],
            "priorityClassName": "system-cluster-critical",
            "extraArgs": ["--workers=8"],
            "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
            "podAnnotations": {"team": "ml"},
        },
        "imagePullSecrets": [{"name": "registry"}],
    },
    {"serviceAccount": {"create": False, "name": "given"}},
    {"extraObjects": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-extra"}}]},
]


@pytest.mark.parametrize("values", VALUES, ids=lambda values: ",".join(values) or "defaults")
def test_every_object_of_the_operator_s_chart_is_valid(values: dict[str, Any]):
    for document in rendered(OPERATOR, values):
        if document["kind"] not in OURS:
            kubernetes_validate.validate(document, "1.36", strict=True)


def test_every_object_of_the_member_s_chart_is_valid():
    proxy = {"namespace": "monitoring", "name": "prometheus", "port": "web", "scheme": "https"}
    for document in rendered(MEMBER, {**KEYS, "serviceAccount": {"longLivedToken": True}, "prometheusProxy": proxy}):
        kubernetes_validate.validate(document, "1.36", strict=True)


@pytest.mark.parametrize(
    ("chart", "values", "refusal"),
    [
        (OPERATOR, {"controler": {}}, "controler"),
        (OPERATOR, {"controller": {"replicas": -1}}, "/controller/replicas"),
        (OPERATOR, {"controller": {"replicas": "two"}}, "/controller/replicas"),
        (OPERATOR, {"controller": {"image": {"repository": "a", "digest": "abc"}}}, "/controller/image/digest"),
        (OPERATOR, {"controller": {"logging": {"level": "loud"}}}, "/controller/logging/level"),
        (MEMBER, {}, "/bundleKeys"),
        (MEMBER, {"bundleKeys": {"team.pem": "x"}}, "/bundleKeys"),
        (MEMBER, {"bundleKeys": {"team.pub": "not a key"}}, "/bundleKeys/team.pub"),
        (MEMBER, {**KEYS, "gateway": True}, "/gateway"),
        (MEMBER, {**KEYS, "prometheusProxy": {"scheme": "ftp"}}, "/prometheusProxy/scheme"),
        (MEMBER, {**KEYS, "prometheusProxy": {"name": "prometheus", "port": 1}}, "prometheusProxy.namespace: name"),
    ],
)
def test_values_nobody_meant_are_refused_by_name(chart: Path, values: dict[str, Any], refusal: str):
    with pytest.raises(HelmFailed, match=refusal):
        rendered(chart, values)


def test_the_crds_in_the_chart_are_those_of_the_repository_and_outlive_it():
    found = {each["metadata"]["name"]: each for each in of_kind(rendered(OPERATOR), "CustomResourceDefinition")}

    for path in (ROOT / "crds").glob("*.yaml"):
        crd = yaml.safe_load(path.read_text())
        shipped = found.pop(crd["metadata"]["name"])
        assert shipped["spec"] == crd["spec"]
        assert shipped["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert found == {}
    let_go = of_kind(rendered(OPERATOR, {"crds": {"keep": False}}), "CustomResourceDefinition")
    assert all("annotations" not in each["metadata"] for each in let_go)


def test_the_operator_runs_restricted_with_probes_and_a_place_for_temporary_files():
    (deployment,) = of_kind(rendered(OPERATOR), "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]

    assert deployment["spec"]["replicas"] == 2
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert {"name": "tmp", "mountPath": "/pilotage/tmp"} in container["volumeMounts"]
    assert {"name": "TMPDIR", "value": "/pilotage/tmp"} in container["env"]
    assert len(of_kind(rendered(OPERATOR), "PodDisruptionBudget")) == 1


def test_no_chart_grants_a_wildcard_a_secret_of_a_member_or_a_way_to_more_rights():
    proxy = {"prometheusProxy": {"namespace": "monitoring", "name": "prometheus", "port": 9090}}
    for chart, values in ((OPERATOR, {}), (MEMBER, KEYS), (MEMBER, KEYS | proxy)):
        for role in [*of_kind(rendered(chart, values), "Role"), *of_kind(rendered(chart, values), "ClusterRole")]:
            for rule in role["rules"]:
                assert "*" not in [*rule.get("apiGroups", []), *rule.get("resources", []), *rule["verbs"]]
                assert not {"escalate", "bind", "impersonate"} & set(rule["verbs"])
                assert chart is OPERATOR or "secrets" not in rule.get("resources", [])
    secrets = [
        role
        for role in of_kind(rendered(OPERATOR), "ClusterRole")
        if any("secrets" in rule["resources"] for rule in role["rules"])
    ]
    assert secrets == []


def test_a_member_s_keys_are_made_once_and_kept():
    objects = rendered(MEMBER, KEYS)

    (key,) = of_kind(objects, "Secret")
    assert list(key["data"]) == ["k1"]
    assert key["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    (public,) = of_kind(objects, "ConfigMap")
    assert public["data"] == KEYS["bundleKeys"]
    assert of_kind(rendered(MEMBER, {**KEYS, "feedback": {"createKey": False}}), "Secret") == []
