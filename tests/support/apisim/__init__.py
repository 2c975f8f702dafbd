"""A Kubernetes API server in memory, behind the same `Api` type as a real one.

`ApiSim` is one cluster, `ApiSim.client(name)` a client of it, `CallLog` the numbered record of all calls with
its crash hook and faults. `kinds` and `crd` say what the server knows of each kind, `workloads` plays the
controllers. No sockets, no threads: it runs in virtual time. What it claims is checked against a real
kube-apiserver by `tests/simulation/test_conformance_*.py`; what is not checked there must not be relied upon.
"""

from support.apisim.calls import CallLog, Fault, Moment, SimCall
from support.apisim.client import ApiSim, Link, SimClient
from support.apisim.kinds import Kind, custom

__all__ = ["ApiSim", "CallLog", "Fault", "Kind", "Link", "Moment", "SimCall", "SimClient", "custom"]
