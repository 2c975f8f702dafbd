"""The bill of materials names what the trainer uses, keeps CycloneDX's rules, and travels in the bundle."""

from __future__ import annotations

import ast
import json
import re
import sys
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

import jsonschema
from packaging.utils import canonicalize_name
from typer.testing import CliRunner

import pilotage_server.train
from pilotage_server.train.cli import app
from pilotage_server.train.config import read_config
from pilotage_server.train.deploy.sbom import ROOTS, SBOM_FILE, bill_of_materials, extras_of
from support.serving import IRIS, train_config

GUARDED = {"arro3-core", "arro3-io", "distributed", "optuna", "ray", "shap"}
SCHEMA = {
    # What CycloneDX 1.6 says about the parts we write; unknown keys are refused everywhere, as there.
    "type": "object",
    "additionalProperties": False,
    "required": ["bomFormat", "specVersion"],
    "properties": {
        "$schema": {"const": "http://cyclonedx.org/schema/bom-1.6.schema.json"},
        "bomFormat": {"const": "CycloneDX"},
        "specVersion": {"const": "1.6"},
        "version": {"type": "integer", "minimum": 1},
        "metadata": {
            "type": "object",
            "additionalProperties": False,
            "properties": {"component": {"$ref": "#/$defs/component"}},
        },
        "components": {"type": "array", "uniqueItems": True, "items": {"$ref": "#/$defs/component"}},
        "dependencies": {
            "type": "array",
            "uniqueItems": True,
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["ref"],
                "properties": {
                    "ref": {"type": "string", "minLength": 1},
                    "dependsOn": {"type": "array", "uniqueItems": True, "items": {"type": "string", "minLength": 1}},
                },
            },
        },
    },
    "$defs": {
        "component": {
            "type": "object",
            "additionalProperties": False,
            "required": ["type", "name"],
            "properties": {
                "type": {"enum": ["library", "platform", "machine-learning-model"]},
                "bom-ref": {"type": "string", "minLength": 1},
                "name": {"type": "string"},
                "version": {"type": "string", "maxLength": 1024},
                "purl": {"type": "string", "pattern": r"^pkg:pypi/[a-z0-9]([a-z0-9-]*[a-z0-9])?@[0-9A-Za-z.%+-]+$"},
                "licenses": {
                    "oneOf": [
                        {
                            "type": "array",
                            "items": {
                                "type": "object",
                                "additionalProperties": False,
                                "required": ["license"],
                                "properties": {
                                    "license": {
                                        "type": "object",
                                        "additionalProperties": False,
                                        "required": ["name"],
                                        "properties": {"name": {"type": "string"}},
                                    }
                                },
                            },
                        },
                        {
                            "type": "array",
                            "minItems": 1,
                            "maxItems": 1,
                            "items": {
                                "type": "object",
                                "additionalProperties": False,
                                "required": ["expression"],
                                "properties": {"expression": {"type": "string"}},
                            },
                        },
                    ]
                },
            },
        }
    },
}


def refs_of(document: dict[str, Any]) -> list[str]:
    return [document["metadata"]["component"]["bom-ref"], *(one["bom-ref"] for one in document["components"])]


def test_it_keeps_the_rules_of_cyclonedx() -> None:
    document = json.loads(bill_of_materials("digits", "v1"))

    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    refs = refs_of(document)
    assert len(set(refs)) == len(refs)
    assert {one["ref"] for one in document["dependencies"]} <= set(refs)
    assert {ref for one in document["dependencies"] for ref in one["dependsOn"]} <= set(refs)


def test_it_names_what_is_installed_with_version_and_licence() -> None:
    components = {one["name"]: one for one in json.loads(bill_of_materials("digits", "v1"))["components"]}

    assert components["scikit-learn"]["purl"] == f"pkg:pypi/scikit-learn@{version('scikit-learn')}"
    assert components["scikit-learn"]["licenses"] == [{"expression": "BSD-3-Clause"}]
    assert components["scipy"]["licenses"] == [{"license": {"name": "BSD License"}}]
    assert components["cpython"]["version"] == sys.version.split()[0]
    assert "pytest" not in components, "installed here, but nothing a model is made of"


def test_every_library_the_trainer_imports_is_in_it() -> None:
    owners = packages_distributions()
    imported = set()
    for path in Path(pilotage_server.train.__path__[0]).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            imported |= {canonicalize_name(one) for name in names for one in owners.get(name.partition(".")[0], ())}

    assert imported - GUARDED - {"pilotage-server"} == set(ROOTS) - {"onnxruntime"}


def test_equal_environments_give_equal_bytes_whatever_else_is_loaded() -> None:
    first = bill_of_materials("digits", "v1")
    import optuna  # noqa: F401

    assert bill_of_materials("digits", "v1") == first
    assert not re.search(rb"timestamp|serialNumber", first)


def test_an_extra_is_in_it_when_the_configuration_uses_it(tmp_path: Path) -> None:
    written = tmp_path / "config.yaml"
    written.write_text(
        "name: x\ndata: {dataset: iris}\nsearch: {method: bayesian}\nreport: {shap: true}\n"
        "model: {estimator: logistic-regression, search: {C: {low: 0.1, high: 1}}}\n"
    )

    assert extras_of(read_config(written)) == ("optuna", "shap")
    assert b"pkg:pypi/optuna@" in bill_of_materials("x", "v1", (*ROOTS, "optuna"))
    assert b"pkg:pypi/optuna@" not in bill_of_materials("x", "v1")


def test_it_lies_in_the_bundle_and_beside_it_and_inspect_shows_it(tmp_path: Path) -> None:
    train_config(IRIS, tmp_path / "run")
    folder = tmp_path / "run" / "bundle"

    shown = CliRunner().invoke(app, ["inspect", str(folder), "--sbom"])

    assert json.loads(shown.stdout) == json.loads((tmp_path / "run" / SBOM_FILE).read_bytes())
    assert (folder / SBOM_FILE).read_bytes() == (tmp_path / "run" / SBOM_FILE).read_bytes()
    manifest = json.loads((folder / "manifest.json").read_bytes())
    assert SBOM_FILE in {entry["name"] for entry in manifest["files"]}

    (folder / SBOM_FILE).write_bytes((folder / SBOM_FILE).read_bytes().replace(b"BSD", b"GPL"))
    refused = CliRunner().invoke(app, ["inspect", str(folder), "--sbom"])
    assert refused.exit_code == 1
    assert "its SHA-256 is not the one in manifest.json" in refused.stderr
