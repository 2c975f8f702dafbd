"""The composition root: every part, one TaskGroup, one order of birth and death.

    hub known → caches (hub keys, Secrets, members) → Lease → workers

All replicas keep their caches warm; only the leader's workers and syncers write. Whatever ends unexpectedly ends the
process: Kubernetes restarts it. At SIGTERM the writers end first, then the Lease is given back, then the rest.

`World` is everything outside: the simulation runs the same `Operator` on another one.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog

from pilotage.engine.act import Hands
from pilotage.engine.members import MemberDesk, tell_members
from pilotage.engine.proxied import ApiOf
from pilotage.engine.queue import Priority, WorkQueue
from pilotage.engine.readings import Readings
from pilotage.engine.reconciler import Decide, Reconciler
from pilotage.engine.workers import work
from pilotage.evidence.answer import Fetch
from pilotage.fleet.access import Connect
from pilotage.fleet.health import Probing
from pilotage.fleet.link import Connected
from pilotage.fleet.registry import Fleet, Outside
from pilotage.hub.events import EventRecorder
from pilotage.hub.keys import KeyList
from pilotage.hub.kinds import KINDS, MEMBER_CLUSTERS, MODEL_DEPLOYMENTS
from pilotage.hub.secrets import Secrets
from pilotage.hub.status import StatusWriter
from pilotage.hub.store import HubStore, owner_of_revision
from pilotage.kube import Api, Clock, Key, NotFound, Resource, Transient
from pilotage.kube.backoff import Backoff, Jitter
from pilotage.kube.lease import Elector, Timings
from pilotage.kube.resources import NAMESPACES
from pilotage.metrics import Metrics
from pilotage.plan import decide
from pilotage.settings import Settings

SETTLE_S = 30.0
"""How long the workers wait for members that neither answer nor fail."""
SETTLE_POLL_S = 0.1
SYNC_BACKOFF_MAX_S = 30.0
"""A member that answers its probes but not our writes is tried at least so often."""

log = structlog.get_logger(__name__)

Stop = Callable[[], Awaitable[None]]
Feed = Callable[[HubStore, Stop], Awaitable[None]]
"""Feeds the hub store; returning means: end the process politely."""


class CannotStart(Exception):
    """Something that must be there before the operator can work is not; the message names the remedy."""


class _Finished(Exception):
    """The feed has returned: everything else ends too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Everything the operator touches. `make_fetch` gets the hub's members and Secrets, and the members' APIs
    by name; `skew_s` a member's name.
    """

    hub: Api
    connect: Connect
    feed: Feed
    make_fetch: Callable[[HubStore, Secrets, ApiOf], Fetch]
    clock: Clock
    jitter: Jitter = field(default=random.random)
    skew_s: Callable[[str], float | None] = field(default=lambda _name: None)
    decide: Decide = field(default=decide)


class Operator:
    """One replica. `run` once. Owns: every task of the operator but the web server's."""

    def __init__(self, settings: Settings, world: World, metrics: Metrics) -> None:
        self._settings, self._world, self._metrics = settings, world, metrics
        clock, jitter = world.clock, world.jitter
        self.store = HubStore()
        self.queue: WorkQueue[Key] = WorkQueue(jitter=jitter)
        self._member_queue: WorkQueue[str] = WorkQueue(jitter=jitter)
        self.elector = Elector(
            world.hub,
            Key(settings.namespace, settings.lease_name),
            identity=settings.identity,
            clock=clock,
            timings=Timings(
                duration_s=settings.lease_duration_s,
                renew_s=settings.lease_renew_deadline_s,
                retry_s=settings.lease_retry_s,
            ),
            jitter=jitter,
        )
        self.keys = KeyList(world.hub, self.store, clock, interval_s=settings.key_list_interval_s)
        self._secrets = Secrets(
            world.hub, settings.namespace, clock=clock, jitter=jitter, on_change=self._secret_changed
        )
        self.fleet = Fleet(self._outside())
        self._recorder = EventRecorder(world.hub, clock, instance=settings.identity, leading=self.elector.valid)
        self.readings = Readings(
            world.make_fetch(self.store, self._secrets, self.fleet.api),
            clock,
            notify=self.queue.add,
            timeout_s=settings.query_timeout_s,
            at_once=settings.queries_at_once,
        )
        self._parts: list[asyncio.Task[None]] = []
        self._namespaces: frozenset[str] = frozenset()
        self.store.listen(self._hub_changed)
        metrics.watch(depth=lambda: len(self.queue), leading=self.elector.valid, members=self._members_up)

    def missing(self) -> str:
        """What readiness waits for, in words; empty: ready."""
        return "" if self.keys.synced.is_set() else "the hub's objects"

    # ------------------------------------------------------------------------------------------------------- living

    async def run(self) -> None:
        """Live. Owns: everything. Ends: when the feed returns. Fatal: LeadershipLost, BlindWatch, CannotStart, bugs."""
        hub_uid = await self._know_the_hub()
        try:
            async with asyncio.TaskGroup() as tasks:
                self._parts = [
                    tasks.create_task(self._run_engine(hub_uid), name="engine"),
                    tasks.create_task(self.elector.run(), name="elector"),
                    tasks.create_task(self._resync(), name="resync"),
                    tasks.create_task(self._secrets.run(), name="secrets"),
                    tasks.create_task(self.keys.run(), name="hub keys"),
                ]
                # last: kopf, in the feed, cancels at its end what was made after it began (python-operator.md §1.4)
                tasks.create_task(self._run_feed(), name="feed")
        except* _Finished:
            log.info("operator.finished")
        finally:
            await self.elector.release()

    async def stop(self) -> None:
        """End the writers first, then the rest, then give the Lease back. The feed calls this before it returns."""
        for task in self._parts:
            if not task.done():
                task.cancel()
                await asyncio.wait((task,))
        await self.elector.release()

    async def _know_the_hub(self) -> str:
        """Wait for the hub, check that our kinds are there, learn who it is."""
        backoff = Backoff(base_s=0.5, cap_s=10.0, jitter=self._world.jitter)
        while True:
            try:
                for kind in KINDS:
                    await self._require_kind(kind)
                found = await self._world.hub.get(NAMESPACES, Key("", "kube-system"))
                return str(found["metadata"]["uid"])
            except Transient as error:
                now = self._world.clock.monotonic()
                backoff = backoff.next(now)
                log.warning("hub.unreachable", error=str(error))
                await self._world.clock.sleep(backoff.wait_s(now))

    async def _require_kind(self, kind: Resource) -> None:
        try:
            await self._world.hub.list_keys(kind)
        except NotFound:
            raise CannotStart(
                f"the hub does not serve {kind.plural}.{kind.group}/{kind.version}; install the CRDs "
                "(helm upgrade with crds.install=true, or kubectl apply --server-side -f crds/)"
            ) from None

    async def _run_feed(self) -> None:
        await self._world.feed(self.store, self.stop)
        raise _Finished

    async def _run_engine(self, hub_uid: str) -> None:
        """Everything that decides and writes. Ends: when cancelled, writers first."""
        statuses = StatusWriter(self._world.hub, self.store)
        desk = MemberDesk(
            store=self.store,
            statuses=statuses,
            recorder=self._recorder,
            fleet=self.fleet,
            clock=self._world.clock,
            hub_uid=hub_uid,
            leading=self.elector.valid,
        )
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.readings.run(), name="readings")
            tasks.create_task(self._recorder.run(), name="events")
            tasks.create_task(self.fleet.run(), name="fleet")
            await self._until_ready_to_decide()
            for name in self.store.members():
                self._member_queue.add(name)
            tasks.create_task(tell_members(desk, self._member_queue), name="members")
            reconciler = self._reconciler(hub_uid, statuses)
            self._add_all(Priority.LOW)
            for number in range(self._settings.workers):
                worker = work(
                    self.queue,
                    reconciler,
                    count=self._metrics.count_reconcile,
                    monotonic=self._world.clock.monotonic,
                )
                tasks.create_task(worker, name=f"worker {number}")

    async def _until_ready_to_decide(self) -> None:
        """We lead, the hub is in the cache, and every member has been heard of, or 30 s have passed."""
        await self.keys.synced.wait()
        await self.elector.acquired.wait()
        deadline = self._world.clock.monotonic() + SETTLE_S
        while not self.fleet.is_settled() and self._world.clock.monotonic() < deadline:
            await self._world.clock.sleep(SETTLE_POLL_S)
        log.info("operator.leads", deployments=len(self.store.deployments()), members=len(self.store.members()))

    def _reconciler(self, hub_uid: str, statuses: StatusWriter) -> Reconciler:
        hands = Hands(
            api=self._world.hub,
            store=self.store,
            statuses=statuses,
            recorder=self._recorder,
            fleet=self.fleet,
            queries=self.readings,
            hub_uid=hub_uid,
            require_leading=self.elector.require_valid,
        )
        return Reconciler(
            hands, self.readings, decide=self._world.decide, clock=self._world.clock, gauges=self._metrics
        )

    async def _resync(self) -> None:
        """Look at everything now and then: costs no request when nothing has changed."""
        while True:
            await self._world.clock.sleep(self._settings.resync_s)
            self._add_all(Priority.LOW)
            for name in self.store.members():
                self._member_queue.add(name)

    # --------------------------------------------------------------------------------------------------- what is heard

    def _outside(self) -> Outside:
        settings, world = self._settings, self._world
        return Outside(
            connect=world.connect,
            secrets=self._secrets,
            clock=world.clock,
            probing=Probing(
                interval_s=settings.probe_interval_s,
                timeout_s=settings.probe_timeout_s,
                failures=settings.probe_failures,
            ),
            jitter=world.jitter,
            make_line=lambda: WorkQueue(jitter=world.jitter, backoff_max_s=SYNC_BACKOFF_MAX_S),
            leading=self.elector.valid,
            members=self.store.members,
            namespaces=self.store.namespaces,
            skew_s=world.skew_s,
            on_link=self._link_changed,
            on_change=self.queue.add,
        )

    def _hub_changed(self, kind: Resource, key: Key, listed: bool) -> None:
        """Something relevant changed on the hub: the keys concerned are looked at again."""
        if kind is MODEL_DEPLOYMENTS:
            self.queue.add(key, Priority.LOW if listed else Priority.NORMAL)
            self._follow_namespaces()
        elif kind is MEMBER_CLUSTERS:
            self.fleet.refresh()
            self._link_changed(key.name)
        else:
            entry = self.store.entry(kind, key)
            owner = owner_of_revision(entry.raw) if entry else None
            # a revision that is gone can only be missed by the deployment whose name it begins with
            for deployment in (owner,) if owner else self._maybe_owners(key):
                self.queue.add(deployment, Priority.LOW)

    def _maybe_owners(self, revision: Key) -> tuple[Key, ...]:
        owner = Key(revision.namespace, revision.name.rpartition("-")[0])
        return (owner,) if self.store.deployment(owner) else ()

    def _follow_namespaces(self) -> None:
        namespaces = self.store.namespaces()
        if namespaces != self._namespaces:
            self._namespaces = namespaces
            self.fleet.refresh()

    def _link_changed(self, name: str) -> None:
        self._member_queue.add(name)
        self._add_all(Priority.LOW)

    def _secret_changed(self, name: str) -> None:
        log.info("secret.changed", secret=name)
        self.fleet.secret_changed(name)

    def _add_all(self, priority: Priority) -> None:
        for key in self.store.deployments():
            self.queue.add(key, priority)

    def _members_up(self) -> list[tuple[str, bool]]:
        return [(name, isinstance(self.fleet.link(name), Connected)) for name in self.fleet.names()]
