"""The command line of every component, from the facts of its cloud.

Every flag that is not its program's default has its reason here. Pure: facts in, arguments out.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, assert_never
from urllib.parse import urlsplit

from localclouds.names import Component
from localclouds.state import Facts

START_ORDER: Final = (
    Component.ETCD,
    Component.API_SERVER,
    Component.FRONT,
    Component.CONTROLLER_MANAGER,
    Component.SCHEDULER,
    Component.PROMETHEUS,
    Component.NODE,
    Component.GATEWAY,
)

POLITE_S: Final[Mapping[Component, float]] = {
    # The node agent ends its pods and gives back what they had mounted; the gateway drains.
    Component.NODE: 3.0,
    Component.GATEWAY: 1.0,
    Component.PROMETHEUS: 2.0,
    Component.CONTROLLER_MANAGER: 1.0,
    Component.SCHEDULER: 1.0,
    # An API server takes up to 40 s on SIGTERM, and for ever without its etcd; both survive any kill.
    Component.API_SERVER: 0.0,
    Component.ETCD: 0.0,
    Component.FRONT: 0.0,
}

# The Endpoints and EndpointSlice controllers refuse loopback pod addresses and back off for ever with Warning events;
# the rest needs a cloud provider, volumes or metrics that are not there, and only costs watches.
OFF_CONTROLLERS: Final = (
    "endpoints-controller",
    "endpointslice-controller",
    "endpointslice-mirroring-controller",
    "horizontal-pod-autoscaler-controller",
    "node-ipam-controller",
    "node-route-controller",
    "cloud-node-lifecycle-controller",
    "service-lb-controller",
    "persistentvolume-binder-controller",
    "persistentvolume-attach-detach-controller",
    "persistentvolume-expander-controller",
    "persistentvolume-protection-controller",
    "ephemeral-volume-controller",
    "volumeattributesclass-protection-controller",
    "resourceclaim-controller",
    "certificatesigningrequest-approving-controller",
    "certificatesigningrequest-cleaner-controller",
    "certificatesigningrequest-signing-controller",
)

AUDIT_POLICY: Final = """\
# Who did what to which object, for every request: what the proof of least privilege is read from.
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
"""


def command(component: Component, facts: Facts, programs: Mapping[str, Path]) -> tuple[str, ...]:
    """The full command of `component` in the cloud of `facts`; `programs` maps names to binaries."""
    match component:
        case Component.ETCD:
            arguments = _etcd(facts)
        case Component.API_SERVER:
            arguments = _api_server(facts)
        case Component.CONTROLLER_MANAGER:
            arguments = _controller_manager(facts)
        case Component.SCHEDULER:
            arguments = _scheduler(facts)
        case Component.PROMETHEUS:
            arguments = _prometheus(facts)
        case Component.NODE | Component.GATEWAY | Component.FRONT:
            # -P: a file named like a module of ours in the current folder must not be imported instead.
            return (sys.executable, "-P", "-m", f"localclouds.{component}", "--cloud-dir", facts.dir)
        case _:
            assert_never(component)
    return (str(programs[component]), *arguments)


def _etcd(facts: Facts) -> tuple[str, ...]:
    client, peer = facts.etcd_address.url, facts.etcd_peer_address.url
    return (
        f"--name={facts.name}",
        f"--data-dir={facts.path / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster={facts.name}={peer}",
        # Survives every death of the process; only a power cut could lose writes, and the state is thrown away then.
        "--unsafe-no-fsync",
        "--log-level=warn",
    )


def _api_server(facts: Facts) -> tuple[str, ...]:
    api, pki = urlsplit(facts.api_server), facts.pki
    return (
        f"--etcd-servers={facts.etcd_address.url}",
        f"--bind-address={api.hostname}",
        f"--secure-port={api.port}",
        f"--advertise-address={api.hostname}",
        # The reconciler would publish a loopback endpoint, which validation refuses.
        "--endpoint-reconciler-type=none",
        "--authorization-mode=Node,RBAC",
        f"--service-cluster-ip-range={facts.service_cidr}",
        f"--client-ca-file={facts.ca_file}",
        f"--tls-cert-file={pki / 'apiserver.crt'}",
        f"--tls-private-key-file={pki / 'apiserver.key'}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={pki / 'service-account.pub'}",
        f"--service-account-signing-key-file={pki / 'service-account.key'}",
        f"--kubelet-certificate-authority={facts.ca_file}",
        f"--kubelet-client-certificate={pki / 'apiserver-kubelet.crt'}",
        f"--kubelet-client-key={pki / 'apiserver-kubelet.key'}",
        "--kubelet-preferred-address-types=InternalIP",
        f"--audit-policy-file={facts.path / 'audit-policy.yaml'}",
        f"--audit-log-path={facts.audit_log}",
        # One file: rotating would split the record that tests read.
        "--audit-log-maxsize=0",
        "--allow-privileged=true",
        "--profiling=false",
    )


def _controller_manager(facts: Facts) -> tuple[str, ...]:
    return (
        f"--kubeconfig={facts.identities['controller-manager'].kubeconfig}",
        "--controllers=*," + ",".join(f"-{name}" for name in OFF_CONTROLLERS),
        f"--service-account-private-key-file={facts.pki / 'service-account.key'}",
        f"--root-ca-file={facts.ca_file}",
        "--use-service-account-credentials=true",
        *_single_instance(),
    )


def _scheduler(facts: Facts) -> tuple[str, ...]:
    return (f"--kubeconfig={facts.identities['scheduler'].kubeconfig}", *_single_instance())


def _single_instance() -> tuple[str, ...]:
    return (
        "--leader-elect=false",
        # No port: one address less to choose, and health shows in what they do.
        "--secure-port=0",
        # The defaults (20 to 50 a second) would throttle a rollout of a few Deployments at once.
        "--kube-api-qps=300",
        "--kube-api-burst=600",
        "--profiling=false",
    )


def _prometheus(facts: Facts) -> tuple[str, ...]:
    return (
        f"--config.file={facts.path / 'prometheus.yaml'}",
        f"--storage.tsdb.path={facts.path / 'prometheus'}",
        "--storage.tsdb.retention.time=1d",
        f"--web.listen-address={urlsplit(facts.prometheus).netloc}",
        f"--web.external-url={facts.prometheus}",
        "--log.level=warn",
    )
