"""Whether a member is well: `/readyz` answered in time, the credential accepted, the clock near ours.

Tells by raising: `MemberLost` after so many unanswered probes in a row, `NotUsable` for what a person must mend. Holds
nothing; the supervisor drives it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from pilotage.api.reasons import Reason
from pilotage.fleet.link import Barred, Link, Lost, NotUsable
from pilotage.kube import Api, ApiError, Clock, Forbidden, NotFound, Unauthorized, Untrusted

MAX_SKEW_S = 30.0
INSTALL_CHART = "install chart pilotage-member into the namespace"


@dataclass(frozen=True, slots=True, kw_only=True)
class Probing:
    """How a member's health is asked for."""

    interval_s: float = 5.0
    timeout_s: float = 3.0
    failures: int = 3
    connect_cap_s: float = 30.0


class MemberLost(Exception):
    """The member stopped answering at `since` (unix seconds)."""

    def __init__(self, since: float, message: str) -> None:
        super().__init__(message)
        self.since, self.message = since, message


async def probe(api: Api, probing: Probing, clock: Clock, *, when_well: Callable[[], None]) -> None:
    """Ask `/readyz` for ever. Ends: when cancelled. Retried: a few failures. Fatal: MemberLost, NotUsable."""
    failures, since, last = 0, 0.0, ""
    while True:
        await clock.sleep(probing.interval_s)
        asked_at = clock.now().timestamp()
        try:
            async with asyncio.timeout(probing.timeout_s):
                await api.raw_get("/readyz")
        except Unauthorized as error:
            raise NotUsable(Reason.UNAUTHORIZED, _unauthorized(error)) from None
        except (Forbidden, NotFound):
            failures = 0  # an answer, if not the one a stock cluster gives
        except (ApiError, TimeoutError) as error:
            last = str(error) or f"no answer within {probing.timeout_s:g} s"
            since = since if failures else asked_at
            failures += 1
        else:
            failures = 0
        if failures >= probing.failures:
            raise MemberLost(since, last)
        if not failures:
            when_well()


def check_skew(skew_s: float | None) -> None:
    """NotUsable when the member's clock is too far from ours."""
    if skew_s is not None and abs(skew_s) > MAX_SKEW_S:
        raise NotUsable(
            Reason.CLOCK_SKEW,
            f"its clock is {abs(skew_s):.0f} s {'ahead of' if skew_s > 0 else 'behind'} the hub's; "
            "set both by NTP: labels are counted by time",
        )


def link_of(error: ApiError, *, since: float) -> Link:
    """What a call that failed on the way in says about the member; `since`: when it was lost, if it is."""
    match error:
        case Unauthorized():
            return Barred(reason=Reason.UNAUTHORIZED, message=_unauthorized(error))
        case Forbidden():
            return Barred(reason=Reason.FORBIDDEN, message=f"{error.message}; {INSTALL_CHART}")
        case Untrusted():
            return Lost(since=since, message=f"{error.message}; check certificate-authority-data and the address")
        case _:
            return Lost(since=since, message=str(error))


def _unauthorized(error: ApiError) -> str:
    return f"the credential is not accepted ({error.message}); renew the kubeconfig in its Secret"
