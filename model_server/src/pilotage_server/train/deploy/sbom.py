"""The bill of materials of a run: which libraries made the model, as CycloneDX 1.6 JSON in the bundle.

What stands in it is the closure of the trainer's declared requirements over the installed distributions, so it is a
matter of the environment alone: no time, no serial number, nothing that another run in the same process has loaded.
Equal environments give equal bytes, as the bundle's digest needs. A licence is told as its distribution tells it, or
not at all. Source: CycloneDX 1.6 (ECMA-424); package URLs: github.com/package-url/purl-spec.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Mapping
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from typing import Any
from urllib.parse import quote

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from pilotage_server import __version__
from pilotage_server.train.config import Config, File

SBOM_FILE = "sbom.cdx.json"
ROOTS = (
    "cryptography", "imbalanced-learn", "joblib", "numpy", "onnx", "onnxruntime", "packaging", "pyyaml",
    "scikit-learn", "scipy", "skops", "threadpoolctl", "typer",
)  # fmt: skip
"""What the trainer imports by name; a test compares it with the sources."""
_LONGEST_LICENCE = 60
_CLASSIFIER = "License :: OSI Approved :: "


def extras_of(config: Config) -> tuple[str, ...]:
    """Distributions that only some configurations use."""
    source = config.data.source
    found = ["optuna"] if config.search.method == "bayesian" else []
    found += ["arro3-core", "arro3-io"] if isinstance(source, File) and source.format == "parquet" else []
    return (*found, "shap") if config.report.shap else tuple(found)


def bill_of_materials(name: str, version: str, roots: Iterable[str] = ROOTS) -> bytes:
    """The environment as CycloneDX JSON; `name` and `version` are the model's."""
    found: dict[str, Distribution] = {}
    edges: dict[str, list[str]] = {}
    for root in sorted(roots):
        _walk(root, found, edges)
    refs = {key: _purl(key, one.version) for key, one in found.items()}
    model, trainer = f"model:{name}@{version}", f"pkg:pypi/pilotage-server@{__version__}"
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {"type": "machine-learning-model", "bom-ref": model, "name": name, "version": version}
        },
        "components": [
            _component("pilotage-server", __version__, trainer, {"expression": "Apache-2.0"}),
            _python(),
            *(_component(key, one.version, refs[key], _licence(one)) for key, one in sorted(found.items())),
        ],
        "dependencies": [
            {"ref": model, "dependsOn": [trainer]},
            {"ref": trainer, "dependsOn": sorted(refs[canonicalize_name(root)] for root in roots)},
            *({"ref": refs[key], "dependsOn": sorted(refs[one] for one in edges[key])} for key in sorted(found)),
        ],
    }
    return (json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _walk(root: str, found: dict[str, Distribution], edges: dict[str, list[str]]) -> None:
    """Add a distribution and, first seen, everything it requires here. What is not installed was not used."""
    waiting: list[str] = [canonicalize_name(root)]
    while waiting:
        key = waiting.pop()
        if key in found:
            continue
        one = found[key] = distribution(key)
        edges[key] = []
        for needed in _required(one):
            if _is_installed(needed):
                edges[key].append(needed)
                waiting.append(needed)


def _required(one: Distribution) -> list[str]:
    """Names of what a distribution requires on this platform, without its extras."""
    found = set()
    for line in one.requires or ():
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            found.add(canonicalize_name(requirement.name))
    return sorted(found)


def _is_installed(key: str) -> bool:
    try:
        distribution(key)
    except PackageNotFoundError:
        return False
    return True


def _component(name: str, version: str, ref: str, licence: Mapping[str, Any]) -> Mapping[str, Any]:
    component: dict[str, Any] = {"type": "library", "bom-ref": ref, "name": name, "version": version, "purl": ref}
    return component | ({"licenses": [licence]} if licence else {})


def _python() -> Mapping[str, Any]:
    implementation, version = platform.python_implementation().lower(), platform.python_version()
    return {"type": "platform", "bom-ref": f"platform:{implementation}@{version}", "name": implementation,
            "version": version}  # fmt: skip


def _purl(key: str, version: str) -> str:
    return f"pkg:pypi/{key}@{quote(version, safe='.')}"


def _licence(one: Distribution) -> Mapping[str, Any]:
    """The distribution's SPDX expression, else its one-line licence or classifiers; empty where it says nothing."""
    told = {key: one.metadata.get_all(key) or [] for key in ("License-Expression", "License", "Classifier")}
    if told["License-Expression"]:
        return {"expression": told["License-Expression"][0]}
    text = "".join(told["License"]).strip()
    if not text or len(text) > _LONGEST_LICENCE or "\n" in text:
        named = (c.removeprefix(_CLASSIFIER) for c in told["Classifier"] if c.startswith(_CLASSIFIER))
        text = ", ".join(sorted(named))
    return {"license": {"name": text}} if text else {}
