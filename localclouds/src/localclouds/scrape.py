"""The configuration of a cloud's Prometheus: pods that ask for it, and the cloud's gateway. Pure.

Target labels are `job`, `instance`, `namespace` and `pod`, nothing else: `model`, `revision` and the like come from the
metrics themselves and must not be touched (a target label of the same name would rename them to exported_…).
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import yaml

from localclouds.names import Component
from localclouds.state import Facts

_ANNOTATION = "__meta_kubernetes_pod_annotation_prometheus_io_"


def configuration(facts: Facts) -> str:
    """The prometheus.yaml of a cloud."""
    jobs: list[dict[str, Any]] = [_pods(facts)]
    if Component.GATEWAY in facts.components:
        target = urlsplit(facts.gateway_admin).netloc
        jobs.append({"job_name": "gateway", "static_configs": [{"targets": [target]}]})
    interval = f"{round(facts.scrape_interval_s * 1000)}ms"
    document = {
        "global": {
            "scrape_interval": interval,
            "scrape_timeout": interval,
            "evaluation_interval": "15s",
            "external_labels": {"cluster": facts.name},
        },
        "scrape_configs": jobs,
    }
    return yaml.safe_dump(document, sort_keys=False)


def _pods(facts: Facts) -> dict[str, Any]:
    identity = facts.identities["prometheus"]
    tls = {"ca_file": facts.ca_file, "cert_file": identity.cert_file, "key_file": identity.key_file}
    return {
        "job_name": "pods",
        "honor_labels": False,
        "kubernetes_sd_configs": [{"role": "pod", "api_server": facts.api_server, "tls_config": tls}],
        "relabel_configs": [
            {"source_labels": [f"{_ANNOTATION}scrape"], "regex": "true", "action": "keep"},
            {"source_labels": [f"{_ANNOTATION}port"], "regex": r"\d+", "action": "keep"},
            {
                "source_labels": ["__meta_kubernetes_pod_phase"],
                "regex": "Pending|Succeeded|Failed",
                "action": "drop",
            },
            {"source_labels": ["__meta_kubernetes_pod_ip"], "regex": ".+", "action": "keep"},
            # One target per container port is found; all become this one address and so one target.
            {
                "source_labels": ["__meta_kubernetes_pod_ip", f"{_ANNOTATION}port"],
                "separator": ":",
                "target_label": "__address__",
            },
            {"source_labels": [f"{_ANNOTATION}path"], "regex": "(/.*)", "target_label": "__metrics_path__"},
            {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
            {"source_labels": ["__meta_kubernetes_pod_name"], "target_label": "pod"},
        ],
    }
