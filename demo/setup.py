"""From nothing to an operator that runs in the hub and reaches three members: what README tells a user to do by hand.

Every function does one thing and blocks until it is done; `story` runs them in threads and says so on the screen.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from demo import manifests
from localclouds import Clouds, images
from localclouds.bootstrap import GATEWAY_NAME, GATEWAY_NAMESPACE
from localclouds.helm import Helm

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
VERSIONS = ("v1", "v2", "v3")
MEMBERS = ("aws", "gcp", "azure")


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """What training left: a pinned reference per version, and the rows it held back for the load."""

    references: dict[str, str]
    held_back: Path
    public_key: str


def make_keys(folder: Path) -> Path:
    """A signing key of the demo's own; returns the folder."""
    shutil.rmtree(folder, ignore_errors=True)
    _run("pilotage-model", "keygen", "--out", str(folder))
    return folder


def train(version: str, folder: Path, keys: Path) -> Path:
    """Train one version and return its output folder."""
    out = folder / version
    shutil.rmtree(out, ignore_errors=True)
    config = ROOT / "examples" / "train" / f"digits-{version}.yaml"
    _run("pilotage-model", "train", str(config), "--out", str(out), "--signing-key", str(keys / "bundle.key"))
    return out


def load_bundles(trained: dict[str, Path], keys: Path, clouds: Clouds) -> Models:
    """Put the bundles where the clouds' nodes find them, as a registry would."""
    for out in trained.values():
        images.load(out / "oci", clouds.state / "oci")
    references = {
        version: json.loads((out / "result.json").read_text())["reference"] for version, out in trained.items()
    }
    public_key = (keys / "bundle.pub").read_text()
    return Models(references=references, held_back=trained["v1"] / "holdback.json", public_key=public_key)


def install_operator(clouds: Clouds) -> None:
    """`helm install pilotage charts/pilotage` into the hub, two replicas, and wait for them."""
    repository, _, rest = images.reference("pilotage.dev/operator:dev").partition(":")
    tag, _, digest = rest.partition("@")
    image = {"repository": repository, "tag": tag, "digest": digest}
    Helm(kubeconfig=clouds["hub"].kubeconfig).install(
        "pilotage",
        ROOT / "charts" / "pilotage",
        namespace=manifests.OPERATOR_NAMESPACE,
        values={"controller": {"image": image}},
    )


def install_member(clouds: Clouds, name: str, public_key: str) -> None:
    """`helm install pilotage-member` into one cloud."""
    Helm(kubeconfig=clouds[name].kubeconfig).install(
        "pilotage-member",
        ROOT / "charts" / "pilotage-member",
        namespace=manifests.NAMESPACE,
        values={"bundleKeys": {"demo.pub": public_key}},
    )


def connect_member(clouds: Clouds, name: str) -> None:
    """Make the least-privilege kubeconfig of the member's bundle, store it on the hub, apply the MemberCluster."""
    member, hub = clouds[name], clouds["hub"]
    token = kubectl(
        member.kubeconfig, "create", "token", "pilotage-hub", "-n", manifests.NAMESPACE, "--duration", "24h"
    ).strip()
    ca_data = base64.b64encode(member.ca_file.read_bytes()).decode()
    credential = yaml.safe_dump(manifests.kubeconfig(member.api_server, ca_data, token))
    gateway = {"name": GATEWAY_NAME, "namespace": GATEWAY_NAMESPACE}
    apply(
        hub.kubeconfig,
        manifests.kubeconfig_secret(name, credential),
        manifests.member_cluster(name, member.prometheus_url, gateway),
    )


def apply(kubeconfig: Path, *objects: dict[str, Any]) -> None:
    """`kubectl apply` objects."""
    kubectl(kubeconfig, "apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all(objects))


def kubectl(kubeconfig: Path, *arguments: str, stdin: str | None = None) -> str:
    """Run kubectl and return what it printed."""
    return _run("kubectl", "--kubeconfig", str(kubeconfig), *arguments, stdin=stdin)


def pilotage(kubeconfig: Path, *arguments: str) -> str:
    """Run our own command line against the hub."""
    verb, *rest = arguments
    return _run("pilotage", verb, "--kubeconfig", str(kubeconfig), "-n", manifests.NAMESPACE, *rest)


def _run(program: str, *arguments: str, stdin: str | None = None) -> str:
    command = [str(BIN / program), *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise StepFailed(f"{program} {' '.join(arguments[:3])}…: exit {done.returncode}\n{done.stderr.strip()[-2000:]}")
    return done.stdout


class StepFailed(Exception):
    """A command of the set-up failed; the text has its last words."""
