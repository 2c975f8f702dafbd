"""Every call that clients make to simulated clusters: numbered, recorded, and where asked disturbed.

One log may serve several clusters, so that "crash at call i" counts over all of them. A call has two moments,
before and after its effect; `on_call` sees both and may kill the client there. Faults are chosen by a
function of the call.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto

from pilotage.kube import Key


class Moment(Enum):
    """Relative to the effect on the cluster."""

    BEFORE_EFFECT = auto()
    AFTER_EFFECT = auto()


class Fault(Enum):
    """What can happen to one call."""

    RESET_BEFORE = auto()
    """The connection breaks before the server has read the call."""
    TIMEOUT_BEFORE = auto()
    """Lost on the way there: no effect, no answer."""
    TIMEOUT_AFTER = auto()
    """Lost on the way back: done, but no answer."""
    CONFLICT = auto()
    THROTTLED = auto()
    UNAVAILABLE = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class SimCall:
    """One call; `verb`, `group`, `resource`, `subresource` as RBAC names them."""

    number: int
    cluster: str
    client: str
    verb: str
    group: str
    resource: str
    subresource: str
    key: Key

    @property
    def is_write(self) -> bool:
        return self.verb in ("create", "update", "patch", "delete")

    @property
    def right(self) -> tuple[str, str, str]:
        """What a role must allow: verb, group, resource with its subresource."""
        return self.verb, self.group, f"{self.resource}/{self.subresource}" if self.subresource else self.resource


OnCall = Callable[[SimCall, Moment], None]
FaultOf = Callable[[SimCall], Fault | None]


def no_fault(_: SimCall) -> Fault | None:
    return None


def unobserved(_: SimCall, __: Moment) -> None:
    return None


@dataclass(slots=True)
class CallLog:
    """The record. `calls` grows with every call; its length is the next number."""

    calls: list[SimCall] = field(default_factory=list)
    on_call: OnCall = unobserved
    fault_of: FaultOf = no_fault

    def record(
        self, *, cluster: str, client: str, verb: str, group: str, resource: str, subresource: str, key: Key
    ) -> SimCall:
        call = SimCall(
            number=len(self.calls),
            cluster=cluster,
            client=client,
            verb=verb,
            group=group,
            resource=resource,
            subresource=subresource,
            key=key,
        )
        self.calls.append(call)
        return call

    def writes(self, cluster: str = "") -> list[SimCall]:
        """Return the calls that change something, of one cluster or of all."""
        return [call for call in self.calls if call.is_write and cluster in ("", call.cluster)]

    def rights(self, client: str = "") -> set[tuple[str, str, str]]:
        """Return every (verb, group, resource) used: what a least-privilege role must hold."""
        return {call.right for call in self.calls if client in ("", call.client)}
