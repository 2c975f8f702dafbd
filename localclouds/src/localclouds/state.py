"""Where an instance keeps its files, and the facts about each cloud that every part reads.

    STATE/lock               held by the supervisor for its life: locked means running
    STATE/instance.json      id, supervisor's pid and start time, clouds
    STATE/kubeconfig         admin contexts of all clouds
    STATE/supervisor.log     what the supervisor did, one JSON object a line
    STATE/oci/               OCI image layout shared by the clouds
    STATE/<cloud>/cloud.json the facts below;  logs/  pki/  etcd/  prometheus/  node/  audit.log

`cloud.json` is written before anything of the cloud starts and never changes after. Knows no process.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from localclouds.errors import NotRunning
from localclouds.names import Component

STATE_VARIABLE: Final = "PILOTAGE_CLOUDS_STATE"
DEFAULT_STATE: Final = Path("build/clouds")
_ADDRESSES: Final = (
    "gateway_address",
    "gateway_admin_address",
    "node_address",
    "etcd_address",
    "etcd_peer_address",
)


def default_state() -> Path:
    """The state directory commands use when none is named: $PILOTAGE_CLOUDS_STATE, else build/clouds."""
    return Path(os.environ.get(STATE_VARIABLE) or DEFAULT_STATE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A TCP address on loopback."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The address as a plain HTTP origin."""
        return f"http://{self}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A client certificate of a cloud, and a kubeconfig that uses it at the inside address."""

    user: str
    cert_file: str
    key_file: str
    kubeconfig: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """The addresses for clients outside the cloud; they stop answering when the cloud is cut off."""

    api_server: str
    prometheus: str
    gateway: str
    kubeconfig: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything about one cloud that its parts need to know, as written to cloud.json.

    Addresses and the kubeconfig (admin) are the inside ones, for the cloud's own programs: they work while the cloud is
    cut off. Clients outside use those in `outside`.
    """

    instance: str
    name: str
    dir: str
    log_dir: str
    oci_store: str
    components: tuple[Component, ...]
    address: str
    api_server: str
    prometheus: str
    gateway: str
    gateway_address: Address
    gateway_admin: str
    gateway_admin_address: Address
    node_address: Address
    pod_cidr: str
    service_cidr: str
    node_name: str
    etcd_address: Address
    etcd_peer_address: Address
    outside: Outside
    kubeconfig: str
    ca_file: str
    scrape_interval_s: float
    identities: dict[str, Identity] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """The cloud's directory."""
        return Path(self.dir)

    @property
    def pki(self) -> Path:
        """Where the cloud's keys and certificates are."""
        return self.path / "pki"

    @property
    def audit_log(self) -> Path:
        """The API server's audit log, one JSON event a line, level Metadata."""
        return self.path / "audit.log"

    def log(self, component: Component) -> Path:
        """The log file of a component: everything it wrote since the cloud came up."""
        return Path(self.log_dir) / f"{component}.log"


def write_facts(facts: Facts) -> None:
    """Write cloud.json, whole or not at all."""
    write_json(facts.path / "cloud.json", asdict(facts))


def read_facts(cloud_dir: Path | str) -> Facts:
    """The facts of the cloud in `cloud_dir`.

    Raises NotRunning when there is no cloud.json.
    """
    path = Path(cloud_dir) / "cloud.json"
    try:
        document = json.loads(path.read_text())
    except FileNotFoundError as missing:
        raise NotRunning(f"{path}: no such file; start clouds with `localclouds up`") from missing
    return decode_facts(document)


def decode_facts(document: dict[str, Any]) -> Facts:
    """Facts from the JSON object of cloud.json."""
    fields = dict(document)
    for name in _ADDRESSES:
        fields[name] = Address(**fields[name])
    fields["components"] = tuple(Component(name) for name in fields["components"])
    fields["outside"] = Outside(**fields["outside"])
    fields["identities"] = {name: Identity(**value) for name, value in fields["identities"].items()}
    return Facts(**fields)


def write_json(path: Path, document: object) -> None:
    """Replace `path` atomically with `document` as JSON."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(document, indent=2) + "\n")
    draft.replace(path)
