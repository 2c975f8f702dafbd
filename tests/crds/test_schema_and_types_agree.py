"""The CRDs and the dataclasses say the same: fields, kinds, enums, and the defaults that decoding repeats."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
import yaml

from pilotage.api import codec, decode, types
from pilotage.api.reasons import ConditionType

CRDS = Path(__file__).parents[2] / "crds"


def schema(plural: str, part: str) -> dict[str, Any]:
    crd = yaml.safe_load((CRDS / f"{plural}.yaml").read_text())
    found: dict[str, Any] = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"][part]
    return found


PAIRS = [
    ("modeldeployments", "spec.model", types.Model),
    ("modeldeployments", "spec.server", types.Server),
    ("modeldeployments", "spec.placement", types.Placement),
    ("modeldeployments", "spec.rollout", types.RolloutSpec),
    ("modeldeployments", "spec.feedback", types.Feedback),
    ("modeldeployments", "spec.analysis", types.AnalysisSpec),
    ("modeldeployments", "spec.traffic", types.Traffic),
    ("modeldeployments", "status", types.DeploymentStatus),
    ("modelrevisions", "status", types.RevisionStatus),
    ("memberclusters", "spec.access.kubeconfigSecretRef", types.SecretKeyRef),
    ("memberclusters", "spec.prometheus", types.PrometheusRef),
    ("memberclusters", "spec.gateway", types.GatewayRef),
    ("memberclusters", "spec.feedback", types.MemberFeedback),
]


@pytest.mark.parametrize(("plural", "path", "cls"), PAIRS, ids=lambda value: getattr(value, "__name__", value))
def test_schema_and_dataclass_have_the_same_fields(plural: str, path: str, cls: type):
    first, *rest = path.split(".")
    found = schema(plural, first)
    for part in rest:
        found = found["properties"][part]

    compare(found, cls, path)


def compare(schema: dict[str, Any], cls: type, path: str) -> None:
    kinds = {key: (annotation, kind) for _, annotation, kind, key in codec.field_kinds(cls)}
    assert schema["properties"].keys() == kinds.keys(), path
    for key, (annotation, kind) in kinds.items():
        compare_field(schema["properties"][key], annotation, kind, f"{path}.{key}")


def compare_field(schema: dict[str, Any], annotation: Any, kind: str, path: str) -> None:
    inner = (
        next((arg for arg in get_args(annotation) if arg is not type(None)), annotation)
        if type(None) in get_args(annotation)
        else annotation
    )
    if path.endswith("steps[].pause"):
        assert "pattern" in schema
    elif kind == "time":
        assert (schema["type"], schema["format"]) == ("string", "date-time"), path
    elif kind == "duration":
        assert schema["type"] == "string", path
    elif get_origin(inner) is tuple:
        assert schema["type"] == "array", path
        assert schema["maxItems"] >= 1, path
        compare_field(schema["items"], get_args(inner)[0], "plain", f"{path}[]")
    elif isinstance(inner, type) and issubclass(inner, StrEnum):
        assert schema["enum"] == [member.value for member in inner] or set(schema["enum"]) == set(inner), path
    elif hasattr(inner, "__dataclass_fields__"):
        compare(schema, inner, path)
    else:
        kinds = {str: "string", int: "integer", float: "number", bool: "boolean"}
        assert schema["type"] == kinds.get(inner, "object"), path


def test_the_spec_has_no_part_that_decoding_does_not_read():
    assert schema("modeldeployments", "spec")["properties"].keys() == {
        "model", "server", "placement", "rollout", "feedback", "gates", "analysis", "traffic", "paused"
    }  # fmt: skip
    assert schema("memberclusters", "spec")["properties"].keys() == {"access", "prometheus", "gateway", "feedback"}


def test_the_defaults_that_decoding_repeats_are_those_of_the_schema():
    spec = schema("modeldeployments", "spec")["properties"]

    assert defaults(spec["rollout"]) == dict(decode.ROLLOUT_DEFAULTS)
    assert defaults(spec["analysis"]) == dict(decode.ANALYSIS_DEFAULTS)
    assert defaults(spec["feedback"]) == dict(decode.FEEDBACK_DEFAULTS)
    assert defaults(spec["traffic"]) == {"mode": "Replicas"}
    assert defaults(spec["placement"]) == {"replicasPerCluster": 1}
    assert spec["paused"]["default"] is False


def test_nothing_that_makes_a_revision_has_a_default():
    spec = schema("modeldeployments", "spec")["properties"]

    assert list(walk_defaults(spec["model"])) == []
    assert list(walk_defaults(spec["server"])) == []


def test_every_printer_column_shows_something_the_status_has():
    for plural in ("modeldeployments", "modelrevisions", "memberclusters"):
        crd = yaml.safe_load((CRDS / f"{plural}.yaml").read_text())["spec"]["versions"][0]
        top = crd["schema"]["openAPIV3Schema"]["properties"]
        for column in crd["additionalPrinterColumns"]:
            part, *path = column["jsonPath"].removeprefix(".").split(".", 1)
            if part == "metadata" or "?(" in column["jsonPath"]:
                continue
            found = top[part]
            for key in path[0].split("."):
                found = found["properties"][key]
            assert found["type"] == column["type"] or found["type"] == "string", column
    assert ConditionType.READY.value == "Ready"


def defaults(schema: dict[str, Any]) -> dict[str, Any]:
    return {key: value["default"] for key, value in schema["properties"].items() if "default" in value}


def walk_defaults(schema: Any):
    if isinstance(schema, dict):
        if "default" in schema:
            yield schema["default"]
        for value in schema.values():
            yield from walk_defaults(value)
