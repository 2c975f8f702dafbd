"""One member's life: connect, make sure it is who it was, follow and write, probe; when it is lost, begin again.

A *session* is one connection: a client, a cache per namespace, the syncer at work. It ends when the member stops
answering, when its MemberCluster or Secret changes, or when another MemberCluster turns out to be the same cluster.
What was seen last stays readable until the next session has listed everything. Nothing that happens in here ever
reaches another member or the process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import structlog

from pilotage.api.reasons import Reason
from pilotage.api.types import MemberCluster
from pilotage.fleet.access import Connect, SecretSource, endpoint_of
from pilotage.fleet.cache import NamespaceCache
from pilotage.fleet.health import INSTALL_CHART, MemberLost, Probing, check_skew, link_of, probe
from pilotage.fleet.link import Barred, Connected, Connecting, Link, Lost, NotUsable
from pilotage.fleet.syncer import Syncer
from pilotage.kube import Api, ApiError, Clock, Forbidden, Key
from pilotage.kube.backoff import Backoff, Jitter
from pilotage.kube.resources import NAMESPACES

IDENTITY = Key("", "kube-system")
SYNCS_AT_ONCE = 4

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a supervisor is given: the outside world as values and callables.

    `pinned` is the identity in the MemberCluster's status. `claim` raises NotUsable for the identity of a twin.
    `skew_s` is how far the member's clock was from ours at its last answer, None before. `on_link` is told of every
    change of the link, `on_change` of every ModelDeployment that something changed for.
    """

    connect: Connect
    secrets: SecretSource
    clock: Clock
    probing: Probing
    jitter: Jitter
    namespaces: Callable[[], frozenset[str]]
    pinned: Callable[[str], str]
    claim: Callable[[str, str], None]
    skew_s: Callable[[str], float | None]
    on_link: Callable[[str], None]
    on_change: Callable[[Key], None]


@dataclass(slots=True)
class _Session:
    """One connection and what hangs on it."""

    api: Api
    caches: dict[str, NamespaceCache] = field(default_factory=dict)
    tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)


class _SessionOver(Exception):
    """The session ends on purpose: connect again with what is true now."""


class Supervisor:
    """See the module. Owns: `link`, `identity`, the caches. `member` is replaced by `update`."""

    def __init__(self, member: MemberCluster, syncer: Syncer, around: Surroundings) -> None:
        self.name = member.metadata.name
        self.syncer = syncer
        self.link: Link = Connecting()
        self.identity = ""
        self._member = member
        self._around = around
        self._caches: dict[str, NamespaceCache] = {}
        self._session: _Session | None = None
        self._changed = asyncio.Event()
        self._poke = asyncio.Event()
        self._backoff = Backoff(base_s=1.0, cap_s=around.probing.connect_cap_s, jitter=around.jitter)

    @property
    def member(self) -> MemberCluster:
        """The MemberCluster as last read."""
        return self._member

    def update(self, member: MemberCluster) -> None:
        """Take a new MemberCluster; another way in ends the session."""
        before, self._member = self._member, member
        if before.kubeconfig_secret_ref != member.kubeconfig_secret_ref or before.problems != member.problems:
            self.reconnect()

    def reconnect(self) -> None:
        """Begin anew, now: the Secret has changed, or the cluster is another MemberCluster's."""
        self._backoff = self._backoff.reset()
        self._changed.set()

    def disown(self) -> None:
        """Another MemberCluster has this cluster by right: what was met was not ours, begin anew."""
        self.identity = ""
        self.reconnect()

    def refresh_namespaces(self) -> None:
        """The set of namespaces to follow may have changed."""
        self._poke.set()

    def link_in(self, namespace: str) -> Link:
        """How we stand, for one namespace: a right may be missing there, or its cache still be empty."""
        if not isinstance(self.link, Connected):
            return self.link
        cache = self._session.caches.get(namespace) if self._session else None
        if cache is not None and cache.forbidden:
            return Barred(reason=Reason.FORBIDDEN, message=f"{cache.forbidden}; {INSTALL_CHART}")
        return self.link if cache is not None and cache.is_synced else Connecting()

    @property
    def api(self) -> Api | None:
        """The connection to the member, while there is one."""
        return self._session.api if self._session and isinstance(self.link, Connected) else None

    def cache(self, namespace: str) -> NamespaceCache | None:
        """The cache of a namespace, as last filled."""
        return self._caches.get(namespace)

    # ------------------------------------------------------------------------------------------------------- living

    async def run(self) -> None:
        """Live. Owns: session after session. Ends: when cancelled. Retried: everything, by its kind. Fatal: none."""
        while True:
            self._changed.clear()
            try:
                await self._live_once()
            except _SessionOver:
                continue
            except NotUsable as error:
                self._become(error.link)
            except MemberLost as error:
                self._become(Lost(since=error.since, message=error.message))
            except ApiError as error:
                self._become(link_of(error, since=self._lost_since()))
            except Exception as error:  # one of three places: no member takes the process down
                log.exception("member.failed", cluster=self.name, error=repr(error))
                self._become(Lost(since=self._lost_since(), message=f"internal error: {error!r}"))
            await self._wait_before_next()

    async def _live_once(self) -> None:
        endpoint = await endpoint_of(self._member, self._around.secrets)
        async with self._around.connect(self.name, endpoint) as api:
            await self._identify(api)
            session = _Session(api=api)
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._until_changed(), name=f"changes {self.name}")
                    probing = probe(api, self._around.probing, self._around.clock, when_well=self._check_skew)
                    tasks.create_task(probing, name=f"probe {self.name}")
                    tasks.create_task(self._follow(session, tasks), name=f"namespaces {self.name}")
                    for number in range(SYNCS_AT_ONCE):
                        tasks.create_task(
                            self.syncer.work(api, session.caches.get), name=f"syncer {self.name} {number}"
                        )
            except ExceptionGroup as group:
                raise _first(group) from None
            finally:
                self._session = None

    async def _identify(self, api: Api) -> None:
        """The UID of kube-system is a cluster's identity: pinned at the first connection, claimed by one name."""
        try:
            found = await api.get(NAMESPACES, IDENTITY)
        except Forbidden as error:
            raise NotUsable(
                Reason.FORBIDDEN, f"may not get namespace kube-system; {INSTALL_CHART} ({error.message})"
            ) from None
        identity = str(found["metadata"]["uid"])
        # what this process has seen counts too: the status may not have been written yet
        pinned = self._around.pinned(self.name) or self.identity
        if pinned and pinned != identity:
            raise NotUsable(
                Reason.IDENTITY_CHANGED,
                f"the credential leads to cluster {identity}, it was {pinned}; put the right "
                "kubeconfig into the Secret, or delete and create the MemberCluster to accept the new one",
            )
        self._around.claim(self.name, identity)
        self.identity = identity
        self._check_skew()

    async def _follow(self, session: _Session, tasks: asyncio.TaskGroup) -> None:
        """Keep one cache per namespace that holds a ModelDeployment; connected once the first are filled."""
        self._session = session
        while True:
            self._poke.clear()
            wanted = self._around.namespaces()
            for namespace in sorted(wanted - session.caches.keys()):
                self._open(session, namespace, tasks)
            for namespace in session.caches.keys() - wanted:
                session.tasks.pop(namespace).cancel()
                del session.caches[namespace]
                self._caches.pop(namespace, None)
            self._backoff = self._backoff.reset()
            self._become(Connected())
            await self._poke.wait()

    def _open(self, session: _Session, namespace: str, tasks: asyncio.TaskGroup) -> None:
        around = self._around
        cache = NamespaceCache(
            session.api, namespace, notify=self._object_changed, clock=around.clock, jitter=around.jitter
        )
        session.caches[namespace] = cache
        session.tasks[namespace] = tasks.create_task(self._fill(cache), name=f"cache {self.name} {namespace}")

    async def _fill(self, cache: NamespaceCache) -> None:
        """Run a cache; once it is filled it replaces the last session's, and everything is compared with it."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(cache.run())
            while True:
                await cache.settled()
                if cache.is_synced:
                    self._caches[cache.namespace] = cache
                    self.syncer.look_at_all(cache.namespace)
                log.info("member.cache", cluster=self.name, namespace=cache.namespace, forbidden=cache.forbidden)
                self._around.on_link(self.name)
                before = (cache.is_synced, cache.forbidden)
                while (cache.is_synced, cache.forbidden) == before:
                    await self._around.clock.sleep(self._around.probing.interval_s)

    def _object_changed(self, key: Key) -> None:
        self.syncer.look(key)
        self._around.on_change(key)

    async def _until_changed(self) -> None:
        await self._changed.wait()
        raise _SessionOver

    def _check_skew(self) -> None:
        check_skew(self._around.skew_s(self.name))

    def _lost_since(self) -> float:
        return self.link.since if isinstance(self.link, Lost) else self._around.clock.now().timestamp()

    def _become(self, link: Link) -> None:
        before, self.link = self.link, link
        if type(before) is type(link) and (not isinstance(link, Barred) or before == link):
            return
        log.info("member.link", cluster=self.name, link=type(link).__name__, **_fields(link))
        self._around.on_link(self.name)

    async def _wait_before_next(self) -> None:
        now = self._around.clock.monotonic()
        self._backoff = self._backoff.next(now)
        wait_s = self._backoff.wait_s(now)
        if isinstance(self.link, Lost):
            wait_s = min(wait_s, self._around.probing.interval_s)
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._changed.wait()


def _first(group: ExceptionGroup[Exception]) -> Exception:
    """What ended a session, when several things did: a reason beats a loss, a bug beats a wish."""

    def rank(error: Exception) -> int:
        kinds = (NotUsable, MemberLost, _SessionOver)
        return (0, 1, 3)[kinds.index(type(error))] if type(error) in kinds else 2

    return min(_leaves(group), key=rank)


def _leaves(group: ExceptionGroup[Exception]) -> list[Exception]:
    found: list[Exception] = []
    for error in group.exceptions:
        found.extend(_leaves(error) if isinstance(error, ExceptionGroup) else [error])
    return found


def _fields(link: Link) -> Mapping[str, object]:
    match link:
        case Lost(message=message):
            return {"error": message}
        case Barred(reason=reason, message=message):
            return {"reason": reason.value, "error": message}
        case _:
            return {}
