"""The objects a member gets, byte for byte: a changed template would restart pods in every cluster."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from pilotage.api.types import GatewayRef, Metadata, Model, ModelRevision, Server
from pilotage.plan import manifests
from pilotage.plan.observed import Manifest
from pilotage.plan.views import BOTH
from support.builders import SERVER_IMAGE, bundle

GOLDEN = Path(__file__).with_name("manifests.yaml")
OWNER = manifests.Owner(deployment="digits", namespace="models", origin="11111111.2222-uid", cluster="aws")


def a_revision(**server) -> ModelRevision:
    return ModelRevision(
        metadata=Metadata(name="digits-0a1b2c3d4e"),
        model=Model(bundle=bundle("v1")),
        server=Server(image=SERVER_IMAGE, **server),
    )


def everything() -> list[Manifest]:
    full = a_revision(
        resources={"requests": {"cpu": "500m"}},
        env=({"name": "OMP_NUM_THREADS", "value": "1"}, {"name": "POD_IP", "value": "1.2.3.4"}),
        node_selector={"disk": "fast"},
        tolerations=({"key": "gpu", "operator": "Exists"},),
        image_pull_secrets=({"name": "registry"},),
    )
    gateway = GatewayRef(name="ingress", namespace="gateway-system")
    return [
        *manifests.collector(OWNER, full.server, 600.0),
        manifests.server_deployment(OWNER, full, 3),
        manifests.service(OWNER, "digits-stable", "digits-0a1b2c3d4e"),
        manifests.service(OWNER, "digits", BOTH),
        manifests.route(OWNER, gateway, ("digits.example.com",), (90, 10)),
    ]


def test_the_objects_are_the_golden_ones():
    text = yaml.safe_dump_all(everything(), sort_keys=True, width=120)
    if os.environ.get("PILOTAGE_WRITE_STORIES"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()


def test_what_the_program_needs_cannot_be_overridden():
    pod = manifests.server_deployment(OWNER, a_revision(env=({"name": "POD_IP", "value": "x"},)), 1)["spec"]["template"]
    entries = [entry for entry in pod["spec"]["containers"][0]["env"] if entry["name"] == "POD_IP"]
    assert entries == [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
def test_pods_satisfy_the_restricted_standard(kind):
    pod = next(obj for obj in everything() if obj["kind"] == kind)["spec"]["template"]["spec"]
    assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert pod["automountServiceAccountToken"] is False
    for container in pod["containers"]:
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["securityContext"]["allowPrivilegeEscalation"] is False


def test_the_ready_pods_of_both_arms_are_behind_the_shared_service_and_the_collector_is_not():
    objects = everything()
    shared = next(o for o in objects if o["kind"] == "Service" and o["metadata"]["name"] == "digits")["spec"][
        "selector"
    ]
    labels = {
        o["kind"]: o["spec"]["template"]["metadata"]["labels"]
        for o in objects
        if o["kind"] in ("Deployment", "StatefulSet")
    }
    assert shared.items() <= labels["Deployment"].items()
    assert not shared.items() <= labels["StatefulSet"].items()
