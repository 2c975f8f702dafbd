"""Addresses of a cloud: a /16 of 127/8 that nobody else on this machine uses while the cloud lives.

    127.A.0.1     etcd, API server, Prometheus        127.A.0.2   gateway
    127.A.0.3     front (what outsiders connect to)   127.A.0.4   node agent
    127.A.1.0/24  pods                                127.A.16.0/20  Services

A range is claimed by listening on one address of it: the kernel then refuses the same claim to every other instance, of
any user, and takes it back when the holder dies, however it dies. No file can be stale. Knows nothing of clouds.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from typing import Final

from localclouds.errors import StartFailed
from localclouds.state import Address

FIRST_RANGE: Final = 16
LAST_RANGE: Final = 250
"""127.0 to 127.15 stay free: resolvers and other programs like to live there."""

_CLAIM_HOST: Final = "127.{range}.0.254"
_CLAIM_PORT: Final = 10257


@dataclass(slots=True, kw_only=True)
class Claim:
    """A claimed /16 and the socket that holds it. Released by `release` or by the death of its process."""

    range: int
    holder: socket.socket
    _given: set[Address] = field(default_factory=set)

    @property
    def control(self) -> str:
        """The address of the control plane."""
        return self.host(1)

    @property
    def pod_cidr(self) -> str:
        """The pods' addresses."""
        return f"127.{self.range}.1.0/24"

    @property
    def service_cidr(self) -> str:
        """The Services' ClusterIPs."""
        return f"127.{self.range}.16.0/20"

    @property
    def first_service_ip(self) -> str:
        """The ClusterIP that the API server gives to `kubernetes.default`."""
        return f"127.{self.range}.16.1"

    def host(self, number: int) -> str:
        """A host address of the range's first /24."""
        return f"127.{self.range}.0.{number}"

    def address(self, number: int, preferred_port: int) -> Address:
        """A free address on host `number`: the preferred port, or another where something holds 0.0.0.0:port."""
        host = self.host(number)
        for port in (preferred_port, 0):
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((host, port))
                    probe.listen(1)
                except OSError:
                    continue
                found = Address(host=host, port=probe.getsockname()[1])
            if found not in self._given:
                self._given.add(found)
                return found
        raise StartFailed(f"{host}: no free port, not even an ephemeral one; is loopback set up?")

    def release(self) -> None:
        """Give the range back."""
        self.holder.close()


def claim(start_at: int) -> Claim:
    """Claim a free range, trying from `start_at` (any integer, taken modulo the number of ranges) upwards.

    Raises StartFailed when all ranges are taken.
    """
    count = LAST_RANGE - FIRST_RANGE + 1
    for step in range(count):
        number = FIRST_RANGE + (start_at + step) % count
        holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            # No SO_REUSEADDR: two listeners on one address must never both succeed.
            holder.bind((_CLAIM_HOST.format(range=number), _CLAIM_PORT))
            holder.listen(1)
        except OSError:
            holder.close()
            continue
        return Claim(range=number, holder=holder)
    raise StartFailed(
        f"all {count} ranges 127.{FIRST_RANGE}.0.0 to 127.{LAST_RANGE}.0.0 are taken; stop other instances "
        "with `localclouds down --state DIR`"
    )
