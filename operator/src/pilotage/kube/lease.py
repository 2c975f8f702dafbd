"""Who leads: one Lease object, one holder at a time (15 s lease, 10 s to renew, a try every 2 s, as
client-go).

Whether another holder's lease has run out is judged by our own monotonic time since we last saw its record
change; wall clocks of two machines are never compared. A lease is no fence, so writers ask `require_valid()`
right before each write: leadership ends for them 5 s before anybody else may take it. Source: client-go
`leaderelection.go`.
"""

import asyncio
import random
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog

from pilotage.kube.api import Api, Key, Manifest, Object
from pilotage.kube.backoff import Jitter
from pilotage.kube.clock import Clock, SystemClock
from pilotage.kube.errors import AlreadyExists, ApiError, Conflict, KubeError, LeadershipLost, NotFound
from pilotage.kube.resources import LEASES

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Seconds. Others wait `duration_s` for a silent holder; a holder gives up after `renew_s` without
    success.
    """

    duration_s: float = 15.0
    renew_s: float = 10.0
    retry_s: float = 2.0

    def __post_init__(self) -> None:
        if not self.duration_s > self.renew_s > self.retry_s > 0:
            raise ValueError(
                f"duration_s {self.duration_s}, renew_s {self.renew_s}, retry_s {self.retry_s}: "
                "each must be above the next, and all above 0"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """The record as last read, and since when it has been so, by our own time."""

    lease: Object
    since: float

    @property
    def spec(self) -> Manifest:
        return self.lease.get("spec") or {}

    def is_held_by(self, identity: str) -> bool:
        return self.spec.get("holderIdentity") == identity

    def is_free(self, now: float) -> bool:
        """Nobody's, or silent for longer than its holder promised."""
        if not self.spec.get("holderIdentity"):
            return True
        return now >= self.since + float(self.spec.get("leaseDurationSeconds") or 0)


class Elector:
    """Runs for one Lease. `identity` must be unique per process: a namesake would be taken for ourselves.

    `acquired` is set while we lead.
    """

    def __init__(
        self,
        api: Api,
        key: Key,
        *,
        identity: str,
        clock: Clock | None = None,
        timings: Timings | None = None,
        jitter: Jitter = random.random,
    ) -> None:
        self.acquired = asyncio.Event()
        self._api = api
        self._key = key
        self._identity = identity
        self._clock = clock or SystemClock()
        self._timings = timings or Timings()
        self._jitter = jitter
        self._seen: _Seen | None = None
        self._renewed = float("-inf")

    def valid(self) -> bool:
        """Tell whether we lead at this very moment; false from the renew deadline on, even while we were
        frozen.
        """
        return self.acquired.is_set() and self._clock.monotonic() < self._renewed + self._timings.renew_s

    def require_valid(self) -> None:
        """Raise LeadershipLost unless we lead: call it right before a write."""
        if not self.valid():
            raise LeadershipLost(f"lease {self._key}: {self._identity} does not hold it (any more)")

    async def run(self) -> None:
        """Get the lease and keep it. Owns: the renewals. Ends: when cancelled; then call `release` once
        nothing writes any more. Retried: every ApiError, until the renew deadline. Fatal: LeadershipLost.
        """
        while not await self._attempt():
            await self._clock.sleep(self._timings.retry_s * (1.0 + 0.2 * self._jitter()))
        self.acquired.set()
        _log.info("lease.acquired", lease=str(self._key), identity=self._identity)
        try:
            while True:
                await self._clock.sleep(self._timings.retry_s)
                await self._attempt()
                self.require_valid()
        finally:
            if not self.valid():
                self.acquired.clear()
                _log.warning("lease.lost", lease=str(self._key), identity=self._identity)

    async def release(self) -> None:
        """Give the lease back, so that the next leader need not wait. Does nothing if it is not ours."""
        seen, self._seen = self._seen if self.valid() else None, None
        self.acquired.clear()
        if seen is None:
            return
        try:
            async with asyncio.timeout(self._timings.retry_s):
                await self._hand_back(seen)
        except (KubeError, TimeoutError) as error:
            _log.info("lease.not_released", lease=str(self._key), error=str(error) or "timeout")
        else:
            _log.info("lease.released", lease=str(self._key), identity=self._identity)

    async def _hand_back(self, seen: _Seen) -> None:
        record = {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _micro_time(self._clock.now())}
        try:
            await self._api.replace(LEASES, self._lease_with(record, seen.lease))
        except Conflict:
            # a renewal that was cut off may have arrived all the same
            lease = await self._api.get(LEASES, self._key)
            if (lease.get("spec") or {}).get("holderIdentity") == self._identity:
                await self._api.replace(LEASES, self._lease_with(record, lease))

    async def _attempt(self) -> bool:
        """Try once to get or renew the lease; tell whether it is ours and fresh."""
        started = self._clock.monotonic()
        try:
            # half of the deadline, so that one hanging call cannot cost the lease (controller-runtime does
            # the same)
            async with asyncio.timeout(self._timings.renew_s / 2):
                held = await self._get_or_renew(started)
        except (ApiError, TimeoutError) as error:
            _log.info("lease.retries", lease=str(self._key), error=str(error) or "timeout")
            return False
        if held:
            # from the start of the call: others may have seen the new record right after
            self._renewed = started
        return held

    async def _get_or_renew(self, now: float) -> bool:
        if self._seen is not None and self._seen.is_held_by(self._identity):
            try:
                return await self._renew(self._seen)
            except (Conflict, NotFound):
                self._seen = None
        try:
            self._look(await self._api.get(LEASES, self._key))
        except NotFound:
            return await self._create()
        if self._seen is None:
            return False
        if self._seen.is_held_by(self._identity):
            return await self._renew(self._seen)
        if self.acquired.is_set():
            self._give_up()
        return self._seen.is_free(now) and await self._take(self._seen)

    def _give_up(self) -> None:
        self.acquired.clear()
        holder = self._seen.spec.get("holderIdentity") if self._seen else ""
        raise LeadershipLost(f"lease {self._key}: {holder or 'nobody'} holds it, no longer {self._identity}")

    def _look(self, lease: Object) -> None:
        """Note what was read, keeping the time if it is the record already known."""
        is_known = self._seen is not None and self._seen.spec == (lease.get("spec") or {})
        since = self._seen.since if is_known and self._seen is not None else self._clock.monotonic()
        self._seen = _Seen(lease=lease, since=since)

    async def _create(self) -> bool:
        lease = {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": {"name": self._key.name, "namespace": self._key.namespace},
            "spec": self._record(transitions=0, acquired=None),
        }
        try:
            self._look(await self._api.create(LEASES, lease))
        except AlreadyExists:
            return False
        return True

    async def _take(self, seen: _Seen) -> bool:
        transitions = int(seen.spec.get("leaseTransitions") or 0) + 1
        return await self._write(seen, self._record(transitions=transitions, acquired=None))

    async def _renew(self, seen: _Seen) -> bool:
        transitions = int(seen.spec.get("leaseTransitions") or 0)
        acquired = seen.spec.get("acquireTime")
        return await self._write(seen, self._record(transitions=transitions, acquired=acquired))

    async def _write(self, seen: _Seen, record: dict[str, Any]) -> bool:
        """PUT guarded by the resourceVersion: of two that try, one gets Conflict."""
        self._look(await self._api.replace(LEASES, self._lease_with(record, seen.lease)))
        return True

    def _record(self, *, transitions: int, acquired: str | None) -> dict[str, Any]:
        now = _micro_time(self._clock.now())
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": int(self._timings.duration_s),
            "acquireTime": acquired or now,
            "renewTime": now,
            "leaseTransitions": transitions,
        }

    def _lease_with(self, record: dict[str, Any], lease: Object) -> dict[str, Any]:
        return {**lease, "spec": {**(lease.get("spec") or {}), **record}}


def _micro_time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
