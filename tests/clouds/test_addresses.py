"""Ranges of 127/8: one owner at a time, given back however the owner ends."""

import os
import signal
import socket
import subprocess
import sys
from ipaddress import IPv4Address, IPv4Network

import pytest

from localclouds import addresses
from localclouds.errors import StartFailed
from support.polling import eventually


def test_two_claims_never_share_a_range() -> None:
    first, second = addresses.claim(7), addresses.claim(7)
    try:
        assert first.range != second.range
    finally:
        first.release()
        second.release()


def test_a_released_range_can_be_claimed_again() -> None:
    first = addresses.claim(11)
    first.release()

    second = addresses.claim(first.range - addresses.FIRST_RANGE)

    assert second.range == first.range
    second.release()


def test_a_range_is_free_again_when_its_holder_is_killed() -> None:
    program = "from localclouds import addresses; c = addresses.claim(23); print(c.range, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        taken = int(holder.stdout.readline())
        os.kill(holder.pid, signal.SIGKILL)

    def again() -> bool:
        claim = addresses.claim(taken - addresses.FIRST_RANGE)
        claim.release()
        return claim.range == taken

    eventually(again)


def test_pods_services_and_hosts_are_disjoint_parts_of_the_range() -> None:
    claim = addresses.claim(31)
    claim.release()

    pods, services = IPv4Network(claim.pod_cidr), IPv4Network(claim.service_cidr)
    hosts = [IPv4Address(claim.host(number)) for number in (1, 2, 3, 4, 254)]

    whole = IPv4Network(f"127.{claim.range}.0.0/16")
    assert pods.subnet_of(whole)
    assert services.subnet_of(whole)
    assert not pods.overlaps(services)
    assert all(host in whole and host not in pods and host not in services for host in hosts)
    assert IPv4Address(claim.first_service_ip) == services[1]


def test_a_port_that_somebody_holds_on_all_addresses_is_replaced() -> None:
    with socket.socket() as everywhere:
        everywhere.bind(("0.0.0.0", 0))
        everywhere.listen(1)
        busy = everywhere.getsockname()[1]
        claim = addresses.claim(41)

        found = claim.address(1, busy)

        claim.release()
        assert found.port not in (0, busy)


def test_no_address_is_given_out_twice() -> None:
    claim = addresses.claim(43)
    given = [claim.address(1, 6443), claim.address(1, 6443), claim.address(1, 2379)]
    claim.release()

    assert len(set(given)) == 3


def test_says_what_to_do_when_every_range_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "LAST_RANGE", addresses.FIRST_RANGE)
    with socket.socket() as holder:
        holder.bind((f"127.{addresses.FIRST_RANGE}.0.254", 10257))
        holder.listen(1)

        with pytest.raises(StartFailed, match=r"all 1 ranges .* are taken; stop other instances"):
            addresses.claim(0)
