"""A cloud before it runs: addresses claimed, keys made, every file its components read written below STATE/<cloud>.

Order matters only in that cloud.json is the last: who sees it sees all the rest.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from localclouds import addresses, components, kubeconfig, pki, scrape
from localclouds.addresses import Claim
from localclouds.names import Component
from localclouds.plan import Wish
from localclouds.state import Facts, Identity, Outside, write_facts


@dataclass(frozen=True, slots=True, kw_only=True)
class Blueprint:
    """A prepared cloud: its facts, its hold on its addresses, and how its admin reaches it from outside."""

    facts: Facts
    claim: Claim
    admin: kubeconfig.Access


def prepare(state: Path, instance: str, wish: Wish) -> Blueprint:
    """Claim addresses and write the files of one cloud. Raises StartFailed when no addresses are left."""
    # The same cloud of the same state directory tries the same addresses first: less to get used to.
    claim = addresses.claim(zlib.crc32(f"{state}/{wish.name}".encode()))
    directory = _fresh(state / wish.name)
    api = claim.address(1, 6443)
    outside_api = claim.address(3, 6443) if Component.FRONT in wish.components else api
    node_name, node_address = f"{wish.name}-node", claim.address(4, 10250)
    authority = pki.Authority(directory / "pki", wish.name)
    servers = {
        "apiserver": (api.host, outside_api.host, claim.first_service_ip, "127.0.0.1", *_API_NAMES),
        "node": (node_address.host, node_name),
    }
    identities = _identities(authority, node_name, servers, f"https://{api}", wish.name)
    admin = _access(wish.name, f"https://{outside_api}", authority, identities["admin"])
    gateway, gateway_admin = claim.address(2, 8080), claim.address(2, 8081)
    prometheus = claim.address(1, 9090)
    if Component.FRONT in wish.components:
        outside_prometheus, outside_gateway = claim.address(3, 9090), claim.address(3, 8080)
    else:
        outside_prometheus, outside_gateway = prometheus, gateway
    facts = Facts(
        instance=instance,
        name=wish.name,
        dir=str(directory),
        log_dir=str(directory / "logs"),
        oci_store=str(state / "oci"),
        components=wish.components,
        address=claim.control,
        api_server=f"https://{api}",
        prometheus=prometheus.url,
        gateway=gateway.url,
        gateway_address=gateway,
        gateway_admin=gateway_admin.url,
        gateway_admin_address=gateway_admin,
        node_address=node_address,
        pod_cidr=claim.pod_cidr,
        service_cidr=claim.service_cidr,
        node_name=node_name,
        etcd_address=claim.address(1, 2379),
        etcd_peer_address=claim.address(1, 2380),
        outside=Outside(
            api_server=f"https://{outside_api}",
            prometheus=outside_prometheus.url,
            gateway=outside_gateway.url,
            kubeconfig=str(kubeconfig.write(directory / "kubeconfig", [admin])),
        ),
        kubeconfig=identities["admin"].kubeconfig,
        ca_file=str(authority.ca_file),
        scrape_interval_s=wish.scrape_interval_s,
        identities=identities,
    )
    (directory / "audit-policy.yaml").write_text(components.AUDIT_POLICY)
    (directory / "prometheus.yaml").write_text(scrape.configuration(facts))
    write_facts(facts)
    return Blueprint(facts=facts, claim=claim, admin=admin)


def _fresh(directory: Path) -> Path:
    directory.mkdir()
    for folder in ("logs", "pki", "etcd", "prometheus"):
        (directory / folder).mkdir(mode=0o700)
    return directory


_API_NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)

_CLIENTS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "admin": ("localclouds:admin", ("system:masters",)),
    "apiserver-kubelet": ("localclouds:apiserver-kubelet", ("system:masters",)),
    "controller-manager": ("system:kube-controller-manager", ()),
    "scheduler": ("system:kube-scheduler", ()),
    "prometheus": ("localclouds:prometheus", ()),
    "gateway": ("localclouds:gateway", ()),
}


def _identities(
    authority: pki.Authority,
    node_name: str,
    servers: Mapping[str, tuple[str, ...]],
    server: str,
    cloud: str,
) -> dict[str, Identity]:
    """Issue every certificate of the cloud; return those who are somebody's identity as a client."""
    authority.signing_key("service-account")
    authority.issue("apiserver", user="kube-apiserver", hosts=servers["apiserver"])
    clients = {**_CLIENTS, "node": (f"system:node:{node_name}", ("system:nodes",))}
    identities = {}
    for name, (user, groups) in clients.items():
        pair = authority.issue(name, user=user, groups=groups, hosts=servers.get(name, ()))
        identity = Identity(
            user=user,
            cert_file=str(pair.cert_file),
            key_file=str(pair.key_file),
            kubeconfig=str(pair.cert_file.with_suffix(".kubeconfig")),
        )
        kubeconfig.write(Path(identity.kubeconfig), [_access(cloud, server, authority, identity)])
        identities[name] = identity
    return identities


def _access(cloud: str, server: str, authority: pki.Authority, identity: Identity) -> kubeconfig.Access:
    return kubeconfig.Access(
        context=cloud,
        server=server,
        ca=authority.ca_pem,
        cert=Path(identity.cert_file).read_bytes(),
        key=Path(identity.key_file).read_bytes(),
    )
