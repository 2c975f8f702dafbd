"""One address per pod, from the cloud's range. Pure bookkeeping; addresses come round as late as possible.

Late reuse matters: a client that still holds a connection to a pod that is gone must not reach a new one.
"""

from __future__ import annotations

import ipaddress


class OutOfAddresses(Exception):
    """Every address of the range belongs to a pod."""


class PodAddresses:
    """Who has which address. Owners are pod UIDs."""

    def __init__(self, network: ipaddress.IPv4Network) -> None:
        self._network = network
        self._owners: dict[str, str] = {}
        # The network's own address and the first host stay free; the last is its broadcast address.
        self._hosts = network.num_addresses - 3
        self._next = 0

    def take(self, owner: str, preferred: str | None = None) -> str:
        """The owner's address: the one it has, the preferred one if it is free and of this range, or the next
        free one.

        Raises OutOfAddresses.
        """
        for address, other in self._owners.items():
            if other == owner:
                return address
        if preferred and preferred not in self._owners and ipaddress.IPv4Address(preferred) in self._network:
            self._owners[preferred] = owner
            return preferred
        for _ in range(self._hosts):
            address = str(self._network.network_address + 2 + self._next)
            self._next = (self._next + 1) % self._hosts
            if address not in self._owners:
                self._owners[address] = owner
                return address
        raise OutOfAddresses(f"all {self._hosts} pod addresses of {self._network} are taken; delete pods")

    def release(self, owner: str) -> None:
        """Free the owner's address, if it has one."""
        self._owners = {address: other for address, other in self._owners.items() if other != owner}
