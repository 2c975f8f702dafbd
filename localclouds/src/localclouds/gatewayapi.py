"""The Gateway API's standard CRDs, from its Go module, at one pinned version and sum.

Only the kinds that the local gateway implements: each of the others costs every API server as much time again, and no
one would answer its objects.

Fetched once with `go mod download` (which needs the module's files only, not a Go new enough to build it) and cached as
JSON, because parsing a megabyte of YAML at every start of every cloud takes longer than applying it.
Knows no clouds.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import tempfile
import zipfile
from pathlib import Path
from typing import Any, Final

import yaml

from localclouds import cache, toolchain
from localclouds.cache import Progress, silent
from localclouds.errors import BuildFailed
from localclouds.state import write_json

VERSION: Final = "v1.7.0"
_MODULE: Final = "sigs.k8s.io/gateway-api"
_SUM: Final = "h1:duVnm7nO6oXfMMUWfcDoBph47CYR/ME3NGxccOVglaY="
SERVED: Final = ("gatewayclasses", "gateways", "httproutes", "referencegrants")
"""Plural names of the kinds that are installed in a cloud."""

_FOLDER: Final = f"{_MODULE}@{VERSION}/config/crd/standard/"


def ensure(progress: Progress = silent) -> Path:
    """Path of a JSON file with the CRDs of the kinds in SERVED and the admission policy that guards them.

    Raises BuildFailed when the module cannot be fetched or is not the pinned one.
    """
    path = cache.directory() / "gateway-api" / f"{VERSION}-{_selection()}.json"
    lock = path.with_name(f".lock-{VERSION}")
    with cache.locked(lock, lambda: progress("gateway-api: waiting for another process that fetches it")):
        if not path.exists():
            progress(f"gateway-api {VERSION}: fetching its CRDs")
            write_json(path, _objects(_download(toolchain.find_go(progress))))
    return path


def _selection() -> str:
    return hashlib.sha256("\0".join(SERVED).encode()).hexdigest()[:8]


def _download(go: Path) -> Path:
    """The module's zip file. Go refuses to unpack a module that asks for a newer Go, but fetches and checks it."""
    with tempfile.TemporaryDirectory() as scratch:  # outside any module, so that no go.mod is consulted or changed
        answer = subprocess.run(
            [str(go), "mod", "download", "-json", f"{_MODULE}@{VERSION}"],
            cwd=scratch,
            env=toolchain.environment(),
            capture_output=True,
            text=True,
        )
    found = json.loads(answer.stdout) if answer.stdout else {}
    if "Zip" not in found or "Sum" not in found:
        why = found.get("Error") or answer.stderr.strip()
        raise BuildFailed(f"{_MODULE} {VERSION} could not be fetched: {why}; check the network and GOPROXY")
    if found["Sum"] != _SUM:
        raise BuildFailed(f"{_MODULE} {VERSION}: sum {found['Sum']} is not the pinned {_SUM}; check GOPROXY")
    return Path(found["Zip"])


def _objects(module: Path) -> list[dict[str, Any]]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    objects: list[dict[str, Any]] = []
    with zipfile.ZipFile(module) as files:
        for name in sorted(files.namelist()):
            if name.startswith(_FOLDER) and name.endswith(".yaml"):
                objects += [each for each in yaml.load_all(files.read(name), Loader=loader) if each]
    crds = {f"{plural}.gateway.networking.k8s.io" for plural in SERVED}
    policies = {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}
    chosen = [each for each in objects if each["kind"] in policies or each["metadata"]["name"] in crds]
    if missing := crds - {each["metadata"]["name"] for each in chosen}:
        raise BuildFailed(f"{module}: {_FOLDER} lacks {', '.join(sorted(missing))}; change the pinned version")
    return chosen
