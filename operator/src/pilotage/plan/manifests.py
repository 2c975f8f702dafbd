"""The objects a member gets, as JSON: Deployments of the arms, Services, HTTPRoute, collector.

Every byte is a promise: a changed template restarts pods in every cluster, so golden texts hold all of it. Pure
construction from a revision and names; which arms, how many pods and which weights is decided in `plan.traffic`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from pilotage.api import names
from pilotage.api.types import Feedback, GatewayRef, ModelRevision, Server
from pilotage.plan.observed import Manifest
from pilotage.plan.pods import collector_pod, data_claim, scraped, server_pod
from pilotage.plan.views import BOTH

COMPONENT_LABEL = "app.kubernetes.io/component"


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Whose objects these are, and where they go."""

    deployment: str
    namespace: str
    origin: str
    cluster: str

    def labels(self, **more: str) -> dict[str, str]:
        """The labels every object of ours carries."""
        return {
            names.MANAGED_BY_LABEL: names.MANAGED_BY,
            names.MODEL_LABEL: self.deployment,
            names.ORIGIN_LABEL: self.origin,
            **more,
        }

    def metadata(self, name: str, **labels: str) -> dict[str, Any]:
        """Metadata of an object of ours."""
        return {"name": name, "namespace": self.namespace, "labels": self.labels(**labels)}


def server_deployment(owner: Owner, revision: ModelRevision, replicas: int, feedback: Feedback) -> Manifest:
    """The pods of one revision in one cluster."""
    name = revision.metadata.name
    marks = {names.REVISION_LABEL: name}
    selector = {names.MODEL_LABEL: owner.deployment, **marks}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": owner.metadata(name, **marks),
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 2,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "selector": {"matchLabels": selector},
            "template": {
                "metadata": {
                    "labels": owner.labels(**marks, **{names.ARM_LABEL: "server"}),
                    "annotations": scraped(names.ADMIN_PORT),
                },
                "spec": server_pod(
                    revision,
                    cluster=owner.cluster,
                    namespace=owner.namespace,
                    deployment=owner.deployment,
                    feedback=feedback,
                ),
            },
        },
    }


def service(owner: Owner, name: str, selects: str) -> Manifest:
    """A Service for traffic: the pods of one revision, or of `BOTH` arms."""
    what = {names.ARM_LABEL: "server"} if selects == BOTH else {names.REVISION_LABEL: selects}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": owner.metadata(name),
        "spec": {
            "selector": {names.MODEL_LABEL: owner.deployment, **what},
            "ports": [{"name": "http", "port": names.SERVER_PORT, "targetPort": "http", "protocol": "TCP"}],
        },
    }


def route(owner: Owner, gateway: GatewayRef, hostnames: tuple[str, ...], weights: tuple[int, int]) -> Manifest:
    """The HTTPRoute that divides requests between the arms."""
    backends = (names.stable_service(owner.deployment), names.canary_service(owner.deployment))
    spec: dict[str, Any] = {
        "parentRefs": [{"name": gateway.name, "namespace": gateway.namespace}],
        "rules": [
            {
                "backendRefs": [
                    {"name": name, "port": names.SERVER_PORT, "weight": weight}
                    for name, weight in zip(backends, weights, strict=True)
                ]
            }
        ],
    }
    if hostnames:
        spec["hostnames"] = list(hostnames)
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": owner.metadata(owner.deployment),
        "spec": spec,
    }


def collector(
    owner: Owner,
    server: Server,
    feedback: Feedback,
    *,
    export: tuple[str, ...] = (),
    peer_files: Mapping[str, str] = MappingProxyType({}),
) -> tuple[Manifest, Manifest, Manifest]:
    """ConfigMap, Service and StatefulSet of the collector, in the order they must exist.

    `export`: counters that only some gates need. What is at its default is left out of the file, so that collectors of
    an older image can still read it. `peer_files`: what server pods are told of other clusters' collectors.
    """
    name = names.collector_name(owner.deployment)
    selector = {names.MODEL_LABEL: owner.deployment, COMPONENT_LABEL: "collector"}
    config: dict[str, Any] = {
        "model": owner.deployment,
        "namespace": owner.namespace,
        "cluster": owner.cluster,
        "labelDelaySeconds": feedback.label_delay_s,
    }
    if export:
        config["export"] = list(export)
    if feedback.audit_rate:
        config["auditRate"] = feedback.audit_rate
    if feedback.omit:
        config["omit"] = sorted(feedback.omit)
    if feedback.window_labels is not None:
        config["windowLabels"] = feedback.window_labels
    data = {"collector.json": json.dumps(config, sort_keys=True), **peer_files}
    ports = [{"name": "http", "port": names.COLLECTOR_PORT, "targetPort": "http", "protocol": "TCP"}]
    template = {
        "metadata": {
            "labels": owner.labels(**{COMPONENT_LABEL: "collector"}),
            "annotations": scraped(names.COLLECTOR_ADMIN_PORT),
        },
        "spec": collector_pod(name, server, feedback),
    }
    workload = {"replicas": 1, "serviceName": name, "selector": {"matchLabels": selector}, "template": template}
    if feedback.storage is not None:
        workload["volumeClaimTemplates"] = [data_claim(feedback.storage)]
    metadata = owner.metadata(name)
    return (
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data},
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"selector": selector, "ports": ports}},
        {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata, "spec": workload},
    )


def claims_differ(live: Manifest, wanted: Manifest) -> bool:
    """Two StatefulSets of one name ask for other volumes: no update can change that, only a new one."""
    return _claims(live) != _claims(wanted)


def _claims(workload: Manifest) -> set[tuple[str, str, str | None]]:
    templates = (workload.get("spec") or {}).get("volumeClaimTemplates") or ()
    return {
        (
            claim["metadata"]["name"],
            claim["spec"]["resources"]["requests"]["storage"],
            claim["spec"].get("storageClassName"),
        )
        for claim in templates
    }
