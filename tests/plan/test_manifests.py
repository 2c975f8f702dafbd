"""The objects a member gets, byte for byte: a changed template would restart pods in every cluster."""

from __future__ import annotations

import copy
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from pilotage.api.types import Feedback, GatewayRef, Metadata, Model, ModelRevision, Omit, Server, Storage
from pilotage.plan import manifests
from pilotage.plan.observed import Manifest
from pilotage.plan.views import BOTH
from pilotage_server.feedback.collector.settings import Omit as CanBeOmitted
from support.builders import SERVER_IMAGE, bundle

GOLDEN = Path(__file__).with_name("manifests.yaml")
OWNER = manifests.Owner(deployment="digits", namespace="models", origin="11111111.2222-uid", cluster="aws")
PLAIN = Feedback(label_delay_s=600.0)
"""As every deployment had it before there was more to say: what is absent adds no byte."""


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
        *manifests.collector(OWNER, full.server, PLAIN),
        manifests.server_deployment(OWNER, full, 3, PLAIN),
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
    pod = manifests.server_deployment(OWNER, a_revision(env=({"name": "POD_IP", "value": "x"},)), 1, PLAIN)
    pod = pod["spec"]["template"]
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


def test_a_collector_is_told_what_gates_need_and_keeps_its_data_on_a_claim():
    feedback = Feedback(label_delay_s=60.0, audit_rate=0.02, storage=Storage(size="10Gi", storage_class_name="ssd"))
    config, _, workload = manifests.collector(OWNER, a_revision().server, feedback, export=("loss", "scores"))

    said = json.loads(config["data"]["collector.json"])
    assert (said["export"], said["auditRate"], said["labelDelaySeconds"]) == (["loss", "scores"], 0.02, 60.0)
    (claim,) = workload["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["resources"] == {"requests": {"storage": "10Gi"}}
    assert claim["spec"]["storageClassName"] == "ssd"
    pod = workload["spec"]["template"]["spec"]
    assert "data" not in {volume["name"] for volume in pod["volumes"]}
    assert pod["securityContext"]["fsGroup"] == 65532


def test_a_collector_is_told_what_nobody_wants_and_nothing_that_is_at_its_default():
    def told(feedback: Feedback) -> dict[str, object]:
        config = manifests.collector(OWNER, a_revision().server, feedback)[0]
        found: dict[str, object] = json.loads(config["data"]["collector.json"])
        return found

    spare = replace(PLAIN, omit=(Omit.SLICES, Omit.COHORTS), window_labels=0)
    assert told(spare) == told(PLAIN) | {"omit": ["cohorts", "slices"], "windowLabels": 0}
    assert {one.value for one in Omit} == {one.value for one in CanBeOmitted}


def test_servers_pick_requests_for_audits_only_when_told_to():
    def env(rate: float) -> dict[str, str]:
        deployment = manifests.server_deployment(OWNER, a_revision(), 1, replace(PLAIN, audit_rate=rate))
        container = deployment["spec"]["template"]["spec"]["containers"][0]
        return {entry["name"]: entry.get("value", "") for entry in container["env"]}

    assert "PILOTAGE_AUDIT_RATE" not in env(0.0)
    assert env(0.02)["PILOTAGE_AUDIT_RATE"] == "0.02"


def test_a_live_claim_with_the_servers_defaults_is_the_one_that_is_wanted():
    def a_collector(storage: Storage | None) -> Manifest:
        return manifests.collector(OWNER, a_revision().server, Feedback(label_delay_s=1.0, storage=storage))[2]

    live = copy.deepcopy(a_collector(Storage(size="1Gi")))
    live["spec"]["volumeClaimTemplates"][0] |= {"status": {"phase": "Pending"}}
    live["spec"]["volumeClaimTemplates"][0]["spec"]["volumeMode"] = "Filesystem"

    assert not manifests.claims_differ(live, a_collector(Storage(size="1Gi")))
    for other in (None, Storage(size="2Gi"), Storage(size="1Gi", storage_class_name="ssd")):
        assert manifests.claims_differ(live, a_collector(other))
