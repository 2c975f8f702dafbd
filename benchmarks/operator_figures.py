"""How quick, how chatty and how heavy the operator is, measured on real control planes. Run from the repository's root:

    PYTHONPATH=tests:. python -m benchmarks.operator_figures

A hub and three members with controllers, pods that get ready half a second after they appear, the operator as a
process. Prints apply → first canary Deployment in a member (median and P99 of 20), API writes of one whole rollout on
the hub and per cluster, and the operator's CPU and memory at rest with three clouds.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from localclouds import WITH_CONTROLLERS, Cloud, Clouds
from support.clouds import apply, install_crds, kubectl
from support.kubelet import Kubelet
from support.operators import NAMESPACE, OperatorProcess
from support.polling import eventually
from support.realfleet import Fleet, a_rollout
from support.simworld import SERVER

MEMBERS = ("aws", "gcp", "azure")
SAMPLES = 20
REST_S = 30.0
MODELS = "models"


def bundle(number: int) -> str:
    """A reference of its own for each sample."""
    return f"registry.example.com/models/digits:{number}@sha256:{number:064x}"


def writes(cloud: Cloud, since: str) -> Counter[str]:
    """The operator's writes in a cluster's audit log, by kind: leases are told apart, reads left out."""
    found: Counter[str] = Counter()
    for line in cloud.audit_log.read_text().splitlines():
        entry = json.loads(line)
        is_ours = entry.get("userAgent", "").startswith("pilotage") and entry["stage"] == "ResponseComplete"
        is_write = entry["verb"] in ("create", "update", "patch", "delete")
        if is_ours and is_write and entry["requestReceivedTimestamp"] >= since:
            reference = entry["objectRef"]
            found["/".join(filter(None, (reference["resource"], reference.get("subresource"))))] += 1
    return found


def now() -> str:
    """The time as the audit log writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + f".{time.time_ns() // 1000 % 1000000:06d}Z"


def cpu_s(pid: int) -> float:
    """Seconds of CPU a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mib(pid: int) -> float:
    """Resident memory of a process."""
    line = next(each for each in Path(f"/proc/{pid}/status").read_text().splitlines() if each.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def latency_s(fleet: Fleet, number: int) -> float:
    """From the return of `kubectl apply` to the Deployment's creation as the operator's log has it."""
    apply(fleet.hub, a_rollout(MODELS, bundle(number), server={"image": SERVER}))
    applied_at = time.time()
    eventually(lambda: bundle(number) in fleet.bundles("aws", MODELS), within_s=30, every_s=0.02)
    return time.time() - applied_at


def main() -> None:
    """Measure and print."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        clouds = stack.enter_context(Clouds(folder / "clouds", names=["hub", *MEMBERS], components=WITH_CONTROLLERS))
        fleet = Fleet(clouds)
        install_crds(fleet.hub)
        kubectl(fleet.hub, "create", "namespace", NAMESPACE)
        kubectl(fleet.hub, "create", "namespace", MODELS)
        for name in MEMBERS:
            kubectl(clouds[name], "create", "namespace", MODELS)
            stack.enter_context(Kubelet(clouds[name]))
            fleet.join(name)
        operator = stack.enter_context(OperatorProcess(fleet.hub, folder))
        apply(fleet.hub, a_rollout(MODELS, bundle(0)))
        fleet.promoted(MODELS)
        rollout_writes(fleet)
        rest(operator)
        found = []
        for number in range(2, SAMPLES + 2):
            found.append(latency_s(fleet, number))
            fleet.promoted(MODELS)
        print(
            f"apply → canary Deployment, {SAMPLES} samples: median {statistics.median(found):.3f} s, "
            f"P99 {max(found):.3f} s (a kubectl look takes {look_s(fleet):.3f} s of that)"
        )


def look_s(fleet: Fleet) -> float:
    """What the measuring itself costs: one `kubectl get`."""
    started = time.time()
    fleet.bundles("aws", MODELS)
    return time.time() - started


def rollout_writes(fleet: Fleet) -> None:
    """One rollout without gates through two waves."""
    since = now()
    apply(fleet.hub, a_rollout(MODELS, bundle(1)))
    fleet.promoted(MODELS)
    threading.Event().wait(5)
    for name in ("hub", *MEMBERS):
        counted = writes(fleet.clouds[name], since)
        leases = counted.pop("leases", 0)
        print(f"writes of one rollout in {name}: {counted.total()} {dict(counted)}, leases {leases}")


def rest(operator: OperatorProcess) -> None:
    """CPU and memory while nothing happens."""
    pid = operator.process.pid
    threading.Event().wait(5)
    before = cpu_s(pid)
    threading.Event().wait(REST_S)
    print(f"at rest: {(cpu_s(pid) - before) / REST_S * 100:.2f} % of a core, {rss_mib(pid):.0f} MiB resident")


if __name__ == "__main__":
    main()
