"""Helm against a real API server: what it makes, changes, removes, and refuses."""

from pathlib import Path

import pytest

from localclouds import Cloud, HelmFailed
from localclouds.helm import Helm
from support.clouds import get, try_kubectl

FILES = {
    "Chart.yaml": "apiVersion: v2\nname: note\nversion: 0.1.0\n",
    "values.yaml": "text: hello\n",
    "values.schema.json": '{"type": "object", "properties": {"text": {"type": "string"}}}',
    "templates/note.yaml": (
        "apiVersion: v1\nkind: ConfigMap\n"
        "metadata: {name: {{ .Release.Name }}-note}\ndata: {text: {{ .Values.text }}}\n"
    ),
}


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / "note" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "note"


def test_a_release_is_installed_upgraded_and_uninstalled(hub: Cloud, namespace: str, chart: Path) -> None:
    helm = Helm(kubeconfig=hub.kubeconfig, context="hub")

    helm.install("my", chart, namespace=namespace)
    assert get(hub, "-n", namespace, "configmap", "my-note")["data"] == {"text": "hello"}

    helm.upgrade("my", chart, namespace=namespace, values={"text": "bye"})
    assert get(hub, "-n", namespace, "configmap", "my-note")["data"] == {"text": "bye"}

    helm.uninstall("my", namespace=namespace)
    assert "NotFound" in try_kubectl(hub, "-n", namespace, "get", "configmap", "my-note").stderr


def test_a_chart_is_rendered_without_a_cluster(chart: Path) -> None:
    text = Helm().template("my", chart, namespace="models", values={"text": "bye"})

    assert "# Source: note/templates/note.yaml" in text
    assert "data: {text: bye}" in text


def test_values_that_the_schema_forbids_are_refused_with_their_path(chart: Path) -> None:
    with pytest.raises(HelmFailed, match=r"(?s)helm: .*'?/?text"):
        Helm().template("my", chart, namespace="models", values={"text": 7})


def test_helms_own_refusal_is_passed_on(hub: Cloud, namespace: str, chart: Path) -> None:
    helm = Helm(kubeconfig=hub.kubeconfig)

    with pytest.raises(HelmFailed, match=r'"?my"? has no deployed releases|not found'):
        helm.upgrade("my", chart, namespace=namespace)
