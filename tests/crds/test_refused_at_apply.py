"""Manifests the API server refuses, each with the path, the reason and what to write instead."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from localclouds import Cloud
from pilotage.gate import Analysis
from support.clouds import get, try_kubectl

EXAMPLES = Path(__file__).parents[2] / "examples"
DELETE = object()

DEPLOYMENT = [
    ("metadata.name", "Digits", r"lower-case|lowercase RFC 1123"),
    ("metadata.name", "d" * 41, "metadata.name: write a name of at most 40"),
    ("metadata.name", "9digits", "begins with a letter"),
    ("spec.model", DELETE, "spec.model: Required value"),
    ("spec.model.bundle", "digits:2.1.0", "spec.model.bundle: Invalid value: .*pin the bundle by digest"),
    ("spec.model.bundel", "x", r"\.spec\.model\.bundel: field not declared in schema"),
    ("spec.server.image", "", "spec.server.image"),
    ("spec.placement.replicasPerCluster", 0, "spec.placement.replicasPerCluster: .*greater than or equal to 1"),
    ("spec.rollout.steps", [{"weight": 50}, {"weight": 10}], "spec.rollout.steps: .*weights must ascend"),
    ("spec.rollout.steps", [{"weight": 10}, {"weight": 10}], "spec.rollout.steps: .*each weight may appear once"),
    ("spec.rollout.steps", [{"weight": 100}], r"spec.rollout.steps\[0\].weight: .*less than or equal to 99"),
    ("spec.rollout.steps", [{"weight": 10, "pause": 5}], r"spec.rollout.steps\[0\].pause: Invalid value: 5"),
    ("spec.rollout.steps", [{"weight": 10, "pause": "5 minutes"}], r"spec.rollout.steps\[0\].pause: .*5 minutes"),
    ("spec.rollout.steps", [{"weight": 10, "pause": {"for": "5m"}}], r"spec.rollout.steps\[0\].pause"),
    ("spec.rollout.steps", [], "spec.gates: .*add rollout.steps"),
    ("spec.rollout.waves", [{"name": "a"}, {"name": "b"}], "only one wave may leave out clusters"),
    ("spec.rollout.waves", [{"name": "a"}, {"name": "a", "clusters": ["aws"]}], "duplicate"),
    ("spec.rollout.maxDuration", "5d", "spec.rollout.maxDuration"),
    ("spec.rollout.onInconclusive", "Promote", "Unsupported value: \"Promote\": supported values: \"(Rollback|Hold)\""),
    ("spec.feedback.labelDelay", "-5m", "spec.feedback.labelDelay"),
    ("spec.gates.0.floor", 1.2, r"spec.gates\[0\].floor: .*1.2.*less than 1"),
    ("spec.gates.0.floor", 0, r"spec.gates\[0\].floor: .*greater than 0"),
    ("spec.gates.0", {"name": "a", "metric": "recall", "class": "8"}, r"spec.gates\[0\]: .*give floor"),
    ("spec.gates.0", {"name": "a", "metric": "recall", "floor": 0.9}, "recall, .* need either class or average"),
    ("spec.gates.0", {"name": "a", "metric": "accuracy", "class": "8", "floor": 0.9}, "other metrics take neither"),
    ("spec.gates.0", {"name": "a", "metric": "f1", "class": "8", "average": "macro", "floor": 0.9}, "class or average"),
    ("spec.gates.0", {"name": "a", "metric": "rocAuc", "average": "micro", "floor": 0.9}, "use macro, weighted"),
    ("spec.gates.0", {"name": "a", "metric": "logLoss", "floor": 0.9}, "they take ceiling"),
    ("spec.gates.0", {"name": "a", "metric": "accuracy", "ceiling": 0.9}, "every other metric takes floor"),
    ("spec.gates.0", {"name": "a", "metric": "errorRate", "ceiling": 2}, r"gates\[0\].ceiling: .*a ceiling below 1"),
    ("spec.gates.0", {"name": "a", "metric": "accuracy", "margin": 1}, r"gates\[0\].margin: .*below 1"),
    ("spec.gates.0", {"name": "a", "metric": "fBeta", "class": "8", "floor": 0.9}, "beta: .*fBeta needs beta"),
    ("spec.gates.0", {"name": "a", "metric": "accuracy", "beta": 2, "floor": 0.9}, "no other metric takes it"),
    ("spec.gates.0", {"name": "a", "metric": "expectedCost", "ceiling": 2}, "expectedCost needs costs"),
    ("spec.gates.0", {"name": "a", "metric": "latency", "floor": 0.9}, "share of requests under bound"),
    ("spec.gates.0", {"name": "a", "metric": "latency", "bound": "0s", "floor": 0.9}, "no request takes no time"),
    ("spec.gates.0", {"name": "a", "metric": "predictionShift"}, "they take margin alone"),
    ("spec.gates.0", {"name": "a", "metric": "predictionShift", "margin": 0.1, "floor": 0.5}, "they take margin alone"),
    ("spec.gates.0", {"name": "a", "metric": "accuracy", "floor": 0.9, "labels": "audit"}, "auditRate: 0.02"),
    ("spec.gates.0", {"name": "a", "metric": "logLoss", "ceiling": 1, "labels": "audit"}, "counted as confusion cells"),
    ("spec.gates.0.mode", "Warn", 'Unsupported value: "Warn"'),
    ("spec.gates.0.counts", {"tp": "a{r=\"$revision\"}"}, "either successes and trials, or all of tp"),
    ("spec.gates.0.counts", {"successes": "a{x=\"1\"}", "trials": "a{r=\"$revision\"}"}, "successes: .*revision"),
    ("spec.gates.0.counts", {"successes": "sum(a{r=\"$revision\"})", "trials": "b{r=\"$revision\"}"}, "should match"),
    ("spec.rollout.steps.0.require", "Fail", 'Unsupported value: "Fail": supported values: "Pass"'),
    ("spec.rollout.bake", {"holdback": 5}, "spec.rollout.bake.duration: Required value"),
    ("spec.rollout.bake", {"duration": "1h", "holdback": 60}, "less than or equal to 50"),
    ("spec.feedback.auditRate", 1.5, "spec.feedback.auditRate: .*less than or equal to 1"),
    ("spec.feedback.storage", {"size": "ten"}, "spec.feedback.storage.size"),
    ("spec.feedback.credentials", {"rate": 5}, "spec.feedback.credentials.secretName: Required value"),
    ("spec.feedback.credentials", {"secretName": "Digits_Feedback"}, "credentials.secretName: .*should match"),
    ("spec.feedback.credentials", {"secretName": "a", "rate": -1}, "credentials.rate: .*greater than or equal to 0"),
    ("spec.feedback.relay", {"secretName": ""}, "spec.feedback.relay.secretName: .*should match"),
    ("spec.feedback.omit", ["loss"], r"spec.feedback.omit\[0\]: Unsupported value: \"loss\""),
    ("spec.gates.0.metric", "rmse", r"spec.gates\[0\].metric: Unsupported value: \"rmse\": supported values"),
    ("spec.gates.1.name", "recall-of-8", "duplicate"),
    ("spec.analysis.alpha", 0, "spec.analysis.alpha"),
    ("spec.analysis.interval", "100ms", "spec.analysis.interval: .*must be at least 1s"),
    ("spec.analysis.minSamples", -1, "spec.analysis.minSamples"),
    ("spec.traffic.mode", "Mesh", "Unsupported value: \"Mesh\""),
]  # fmt: skip

MEMBER = [
    ("metadata.name", "aws.east", "at most 63 lower-case letters"),
    ("spec.access", DELETE, "spec.access: Required value"),
    ("spec.access.kubeconfigSecretRef.name", "", "spec.access.kubeconfigSecretRef.name"),
    ("spec.prometheus.url", "prometheus:9090", r"spec.prometheus.url: .*write http\(s\)://host:port"),
    ("spec.prometheus.url", "https://user:pass@prometheus", "credentials go to authSecretRef"),
    ("spec.prometheus.service", {"namespace": "m", "name": "p", "port": "http"}, "name either url, or service"),
    ("spec.prometheus", {}, "name either url, or service"),
    (
        "spec.prometheus",
        {"service": {"namespace": "m", "name": "p", "port": "9090"}, "authSecretRef": {"name": "a"}},
        "passes no credential on",
    ),
    (
        "spec.prometheus",
        {"service": {"namespace": "m", "name": "p/../x", "port": "9090"}},
        "spec.prometheus.service.name",
    ),
    ("spec.gateway.namespace", DELETE, "spec.gateway.namespace: Required value"),
    ("spec.feedback", {"url": "feedback.aws.example"}, r"spec.feedback.url: .*write http\(s\)://host:port/path"),
    ("spec.feedback", {"url": "https://me:secret@aws.example"}, "spec.feedback.url: .*without credentials"),
    ("spec.feedback", {"url": "https://{cluster}.example"}, "spec.feedback.url: .*no other braces"),
    ("spec.feedback", {"url": "http://a.example", "caBundle": "-----BEGIN CERTIFICATE-----"}, "caBundle: .*https only"),
    ("spec.feedback", {"url": "https://a.example", "caBundle": "ca.crt"}, "spec.feedback.caBundle: .*should match"),
    ("spec.feedback", {"jurisdictions": ["EU"]}, r"spec.feedback.jurisdictions\[0\]: .*should match"),
]


@pytest.mark.parametrize(("path", "value", "refusal"), DEPLOYMENT)
def test_a_model_deployment_is_refused_with_path_and_reason(
    hub: Cloud, namespace: str, path: str, value: Any, refusal: str
):
    refused(hub, changed("modeldeployment.yaml", path, value), refusal, "--namespace", namespace)


@pytest.mark.parametrize(("path", "value", "refusal"), MEMBER)
def test_a_member_cluster_is_refused_with_path_and_reason(hub: Cloud, path: str, value: Any, refusal: str):
    refused(hub, changed("memberclusters.yaml", path, value), refusal)


@pytest.mark.parametrize(
    "url",
    [
        "https://{model}.{namespace}.feedback.aws.example",
        "http://10.0.0.1:30890/",
        "https://a.example/{namespace}/{model}",
    ],
)
def test_collectors_are_reached_by_host_or_by_path(hub: Cloud, url: str):
    manifest = changed("memberclusters.yaml", "spec.feedback", {"url": url, "jurisdictions": ["eu", "ie"]})

    done = dry_run(hub, manifest)

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("pause", ["5m", "1h30m", {}])
def test_a_pause_is_a_duration_or_waits_for_a_person(hub: Cloud, namespace: str, pause: Any):
    manifest = changed("modeldeployment.yaml", "spec.rollout.steps", [{"weight": 10, "pause": pause}])

    done = dry_run(hub, manifest, "--namespace", namespace)

    assert done.returncode == 0, done.stderr


GATES = [
    {"metric": "specificity", "average": "weighted", "floor": 0.9},
    {"metric": "fBeta", "class": "8", "beta": 2, "floor": 0.9, "margin": 0.05},
    {"metric": "balancedAccuracy", "margin": 0},
    {"metric": "rocAuc", "average": "macro", "floor": 0.9},
    {"metric": "logLoss", "ceiling": 1.5, "margin": 2, "mode": "Advisory"},
    {"metric": "expectedCost", "costs": {"8": {"3": 10}}, "ceiling": 3},
    {"metric": "latency", "bound": "250ms", "floor": 0.99, "margin": 0.01},
    {"metric": "errorRate", "ceiling": 0.01, "counts": {"successes": "a{r='$revision'}", "trials": "b{r='$revision'}"}},
    {"metric": "confidenceShift", "margin": 0.05},
]


@pytest.mark.parametrize("gate", GATES, ids=lambda gate: gate["metric"])
def test_what_the_schema_takes_the_gate_takes(hub: Cloud, namespace: str, gate: dict[str, Any]):
    manifest = changed("modeldeployment.yaml", "spec.gates", [{"name": "a", **gate}])

    done = dry_run(hub, manifest, "--namespace", namespace)

    assert done.returncode == 0, done.stderr
    assert Analysis.from_spec({"gates": manifest["spec"]["gates"]}).gates


def test_a_revision_never_changes(hub: Cloud, namespace: str):
    revision: dict[str, Any] = {
        "apiVersion": "pilotage.dev/v1alpha1",
        "kind": "ModelRevision",
        "metadata": {"name": "digits-0123456789"},
        "spec": {"model": {"bundle": "a"}, "server": {"image": "b", "env": [{"name": "A", "value": "1"}]}},
    }
    where = ("--namespace", namespace)
    created = try_kubectl(hub, "create", *where, "-f", "-", stdin=yaml.safe_dump(revision))
    assert created.returncode == 0, created.stderr

    for part, value in (("model", {"bundle": "c"}), ("server", {"image": "b", "env": [{"name": "A", "value": "2"}]})):
        edited = copy.deepcopy(revision)
        edited["spec"][part] = value
        done = try_kubectl(hub, "replace", *where, "-f", "-", stdin=yaml.safe_dump(edited))
        assert done.returncode != 0
        assert "a revision never changes" in done.stderr


def test_examples_apply_as_they_are_and_defaults_are_filled_in(hub: Cloud, namespace: str):
    for example in EXAMPLES.glob("*.yaml"):
        documents = [{**each, "metadata": {**each["metadata"]}} for each in yaml.safe_load_all(example.read_text())]
        for document in documents:
            document["metadata"].pop("namespace", None)
        done = try_kubectl(
            hub, "apply", "--server-side", "--namespace", namespace, "-f", "-", stdin=yaml.safe_dump_all(documents)
        )
        assert done.returncode == 0, f"{example.name}: {done.stderr}"

    spec = get(hub, "modeldeployments.pilotage.dev", "wine", "--namespace", namespace)["spec"]
    assert spec["rollout"]["onInsufficientData"] == "Hold"
    assert spec["analysis"]["alpha"] == 0.05
    assert spec["traffic"]["mode"] == "Replicas"


def test_short_names_and_columns_are_those_the_readme_shows(hub: Cloud, namespace: str):
    member = changed("memberclusters.yaml", "metadata.name", namespace)
    applied = try_kubectl(hub, "apply", "--server-side", "-f", "-", stdin=yaml.safe_dump(member))
    assert applied.returncode == 0, applied.stderr

    listed = try_kubectl(hub, "get", "mdep,mrev,mcl", "--namespace", namespace)
    header = try_kubectl(hub, "get", "mcl", namespace)

    assert listed.returncode == 0, listed.stderr
    assert header.stdout.split("\n")[0].split() == ["NAME", "READY", "REASON", "AGE"]


def refused(hub: Cloud, manifest: dict[str, Any], refusal: str, *arguments: str) -> None:
    done = dry_run(hub, manifest, *arguments)
    assert done.returncode != 0, "accepted"
    assert re.search(refusal, done.stderr), done.stderr


def dry_run(hub: Cloud, manifest: dict[str, Any], *arguments: str):
    arguments = ("apply", "--server-side", "--dry-run=server", *arguments, "-f", "-")
    return try_kubectl(hub, *arguments, stdin=yaml.safe_dump(manifest))


def changed(example: str, path: str, value: Any) -> dict[str, Any]:
    """The first object of an example with one field changed or deleted."""
    manifest: dict[str, Any] = next(yaml.safe_load_all((EXAMPLES / example).read_text()))
    manifest["metadata"].pop("namespace", None)
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    holder: Any = manifest
    for part in parents:
        holder = holder[part]
    if value is DELETE:
        del holder[last]
    else:
        holder[last] = value
    return manifest
