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
from localclouds.state import Address, Facts, Identity, Outside, write_facts


@dataclass(frozen=True, slots=True, kw_only=True)
class Blueprint:
    """A prepared cloud: its facts, its hold on its addresses, and how its admin reaches it from outside."""

    facts: Facts
    claim: Claim
    admin: kubeconfig.Access


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Every address of a cloud. `outside_*` equal the inside ones where the cloud has no front."""

    api: Address
    prometheus: Address
    etcd: Address
    etcd_peer: Address
    gateway: Address
    gateway_admin: Address
    node: Address
    outside_api: Address
    outside_prometheus: Address
    outside_gateway: Address


def prepare(state: Path, instance: str, wish: Wish) -> Blueprint:
    """Claim addresses and write the files of one cloud. Raises StartFailed when no addresses are left."""
    # The same cloud of the same state directory tries the same addresses first: less to get used to.
    claim = addresses.claim(zlib.crc32(f"{state}/{wish.name}".encode()))
    directory = _fresh(state / wish.name)
    places = _places(claim, fronted=Component.FRONT in wish.components)
    authority = pki.Authority(directory / "pki", wish.name)
    identities = _identities(authority, wish.name, claim, places)
    admin = _access(wish.name, f"https://{places.outside_api}", authority, identities["admin"])
    kubeconfig.write(directory / "kubeconfig", [admin])
    facts = _facts(state, instance, wish, claim, places, identities)
    (directory / "audit-policy.yaml").write_text(components.AUDIT_POLICY)
    (directory / "prometheus.yaml").write_text(scrape.configuration(facts))
    write_facts(facts)
    return Blueprint(facts=facts, claim=claim, admin=admin)


def _places(claim: Claim, *, fronted: bool) -> Places:
    api, prometheus, gateway = claim.address(1, 6443), claim.address(1, 9090), claim.address(2, 8080)
    return Places(
        api=api,
        prometheus=prometheus,
        etcd=claim.address(1, 2379),
        etcd_peer=claim.address(1, 2380),
        gateway=gateway,
        gateway_admin=claim.address(2, 8081),
        node=claim.address(4, 10250),
        outside_api=claim.address(3, 6443) if fronted else api,
        outside_prometheus=claim.address(3, 9090) if fronted else prometheus,
        outside_gateway=claim.address(3, 8080) if fronted else gateway,
    )


def _facts(
    state: Path, instance: str, wish: Wish, claim: Claim, places: Places, identities: dict[str, Identity]
) -> Facts:
    directory = state / wish.name
    return Facts(
        instance=instance,
        name=wish.name,
        dir=str(directory),
        log_dir=str(directory / "logs"),
        oci_store=str(state / "oci"),
        components=wish.components,
        address=claim.control,
        api_server=f"https://{places.api}",
        prometheus=places.prometheus.url,
        gateway=places.gateway.url,
        gateway_address=places.gateway,
        gateway_admin=places.gateway_admin.url,
        gateway_admin_address=places.gateway_admin,
        node_address=places.node,
        pod_cidr=claim.pod_cidr,
        service_cidr=claim.service_cidr,
        node_name=_node_name(wish.name),
        etcd_address=places.etcd,
        etcd_peer_address=places.etcd_peer,
        outside=Outside(
            api_server=f"https://{places.outside_api}",
            prometheus=places.outside_prometheus.url,
            gateway=places.outside_gateway.url,
            kubeconfig=str(directory / "kubeconfig"),
        ),
        kubeconfig=identities["admin"].kubeconfig,
        ca_file=str(directory / "pki" / "ca.crt"),
        scrape_interval_s=wish.scrape_interval_s,
        identities=identities,
    )


def _node_name(cloud: str) -> str:
    return f"{cloud}-node"


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


def _identities(authority: pki.Authority, cloud: str, claim: Claim, places: Places) -> dict[str, Identity]:
    """Issue every certificate of the cloud; return those who are somebody's identity as a client."""
    authority.signing_key("service-account")
    serving = (places.api.host, places.outside_api.host, claim.first_service_ip, "127.0.0.1", *_API_NAMES)
    authority.issue("apiserver", user="kube-apiserver", hosts=serving)
    node = _node_name(cloud)
    clients = {**_CLIENTS, "node": (f"system:node:{node}", ("system:nodes",))}
    identities = {}
    for name, (user, groups) in clients.items():
        hosts = (places.node.host, node) if name == "node" else ()
        pair = authority.issue(name, user=user, groups=groups, hosts=hosts)
        identity = Identity(
            user=user,
            cert_file=str(pair.cert_file),
            key_file=str(pair.key_file),
            kubeconfig=str(pair.cert_file.with_suffix(".kubeconfig")),
        )
        access = _access(cloud, f"https://{places.api}", authority, identity)
        kubeconfig.write(Path(identity.kubeconfig), [access])
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
