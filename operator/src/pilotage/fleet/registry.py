"""The fleet: every member's supervisor, and the door through which the engine asks and tells.

Owns the set of lives: one task per MemberCluster, started and ended as the objects come and go. A MemberCluster that is
deleted ends its life and orphans what is in its cluster. Two MemberClusters that lead to one cluster: the one that was
there first keeps it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import structlog

from pilotage.api.reasons import Reason
from pilotage.api.types import MemberCluster
from pilotage.fleet.access import Connect, SecretSource
from pilotage.fleet.health import Probing
from pilotage.fleet.link import Barred, Connecting, Link, NotUsable
from pilotage.fleet.supervisor import Supervisor, Surroundings
from pilotage.fleet.syncer import Line, Syncer, Wanted
from pilotage.kube import Api, Clock, Key, Manifest
from pilotage.kube.backoff import Jitter

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What the fleet knows for one ModelDeployment in one member."""

    link: Link
    objects: tuple[Manifest, ...] = ()
    pods: tuple[Manifest, ...] = ()
    taken: tuple[Manifest, ...] = ()
    apply_error: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """What the fleet is given. `members` and `namespaces` read the hub's cache; `leading` guards every write."""

    connect: Connect
    secrets: SecretSource
    clock: Clock
    probing: Probing
    jitter: Jitter
    make_line: Callable[[], Line]
    leading: Callable[[], bool]
    members: Callable[[], Mapping[str, MemberCluster]]
    namespaces: Callable[[], frozenset[str]]
    skew_s: Callable[[str], float | None]
    on_link: Callable[[str], None]
    on_change: Callable[[Key], None]


@dataclass(slots=True)
class _Life:
    """One member: who looks after it, and the task that does."""

    supervisor: Supervisor
    task: asyncio.Task[None]


class Fleet:
    """See the module."""

    def __init__(self, outside: Outside) -> None:
        self._outside = outside
        self._lives: dict[str, _Life] = {}
        self._claims: dict[str, str] = {}
        self._poke = asyncio.Event()
        self._poke.set()

    def refresh(self) -> None:
        """MemberClusters or namespaces may have changed."""
        self._poke.set()

    async def run(self) -> None:
        """Keep the lives in step with the MemberClusters. Owns: their tasks. Ends: when cancelled, lives first."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._poke.wait()
                self._poke.clear()
                self._match(self._outside.members(), tasks)

    def _match(self, members: Mapping[str, MemberCluster], tasks: asyncio.TaskGroup) -> None:
        for name in self._lives.keys() - members.keys():
            self._end(name)
        for name, member in sorted(members.items()):
            life = self._lives.get(name)
            if life is not None and life.supervisor.member.metadata.uid != member.metadata.uid:
                self._end(name)  # deleted and created again while we looked away
                life = None
            if life is None:
                self._begin(member, tasks)
            else:
                life.supervisor.update(member)
                life.supervisor.refresh_namespaces()

    def _begin(self, member: MemberCluster, tasks: asyncio.TaskGroup) -> None:
        name, outside = member.metadata.name, self._outside
        syncer = Syncer(name, line=outside.make_line(), leading=outside.leading, notify=outside.on_change)
        around = Surroundings(
            connect=outside.connect,
            secrets=outside.secrets,
            clock=outside.clock,
            probing=outside.probing,
            jitter=outside.jitter,
            namespaces=outside.namespaces,
            pinned=self._pinned,
            claim=self._claim,
            skew_s=outside.skew_s,
            on_link=outside.on_link,
            on_change=outside.on_change,
        )
        supervisor = Supervisor(member, syncer, around)
        self._lives[name] = _Life(
            supervisor=supervisor, task=tasks.create_task(supervisor.run(), name=f"member {name}")
        )
        outside.on_link(name)

    def _end(self, name: str) -> None:
        self._lives.pop(name).task.cancel()
        for identity in [identity for identity, holder in self._claims.items() if holder == name]:
            del self._claims[identity]
            self._let_twins_try()
        log.info("member.removed", cluster=name)
        self._outside.on_link(name)

    # ------------------------------------------------------------------------------------------------------ identity

    def _claim(self, name: str, identity: str) -> None:
        """Give the cluster to this name; NotUsable when another MemberCluster has it by right."""
        holder = self._claims.get(identity)
        if holder is not None and holder != name and holder in self._lives:
            if self._rank(holder, identity) <= self._rank(name, identity):
                raise NotUsable(
                    Reason.DUPLICATE_CLUSTER,
                    f"leads to the same cluster as MemberCluster {holder} (kube-system {identity}); "
                    "delete one of the two",
                )
            self._lives[holder].supervisor.disown()  # it will meet our claim
        self._claims = {held: by for held, by in self._claims.items() if by != name}
        self._claims[identity] = name

    def _rank(self, name: str, identity: str) -> tuple[bool, float, str]:
        """Who was there first: whose identity is pinned, then the older object, then the name."""
        member = self._outside.members().get(name) or self._lives[name].supervisor.member
        return (member.cluster_uid != identity, member.metadata.creation_timestamp, name)

    def _pinned(self, name: str) -> str:
        """The identity in the MemberCluster's status as it is now."""
        member = self._outside.members().get(name)
        return member.cluster_uid if member else ""

    def _let_twins_try(self) -> None:
        for life in self._lives.values():
            link = life.supervisor.link
            if isinstance(link, Barred) and link.reason is Reason.DUPLICATE_CLUSTER:
                life.supervisor.reconnect()

    def secret_changed(self, name: str) -> None:
        """A Secret has another content (or appeared, or went): whoever uses it connects anew."""
        for life in self._lives.values():
            reference = life.supervisor.member.kubeconfig_secret_ref
            if reference is not None and reference.name == name:
                life.supervisor.reconnect()

    # ------------------------------------------------------------------------------------------- the engine's questions

    def names(self) -> tuple[str, ...]:
        """Members with a life."""
        return tuple(sorted(self._lives))

    def link(self, name: str) -> Link:
        """How we stand with a member as a whole."""
        life = self._lives.get(name)
        return life.supervisor.link if life else Connecting()

    def link_in(self, name: str, namespace: str) -> Link:
        """How we stand with a member for one namespace."""
        life = self._lives.get(name)
        return life.supervisor.link_in(namespace) if life else Connecting()

    def identity(self, name: str) -> str:
        """UID of the member's kube-system namespace, empty before the first connection."""
        life = self._lives.get(name)
        return life.supervisor.identity if life else ""

    def api(self, name: str) -> Api | None:
        """The connection to a member, while there is one: for reads that no cache holds."""
        life = self._lives.get(name)
        return life.supervisor.api if life else None

    def look(self, name: str, key: Key, origin: str) -> Outlook:
        """What is known of one ModelDeployment in one member. Reads caches only."""
        life = self._lives.get(name)
        if life is None:
            return Outlook(link=Connecting())
        supervisor, findings = life.supervisor, life.supervisor.syncer.findings(key)
        cache = supervisor.cache(key.namespace)
        seen = Outlook(link=supervisor.link_in(key.namespace), taken=findings.taken, apply_error=findings.error)
        if cache is None:
            return seen
        return replace(seen, objects=cache.objects(origin), pods=cache.pods(origin))

    def origins(self, name: str) -> Mapping[str, frozenset[str]]:
        """Per namespace, every origin that something of ours in this member carries."""
        life = self._lives.get(name)
        namespaces = self._outside.namespaces()
        caches = {space: life.supervisor.cache(space) for space in namespaces} if life else {}
        return {space: cache.origins() for space, cache in caches.items() if cache is not None}

    def is_settled(self) -> bool:
        """Whether every member has either filled its caches or is known to be out of reach."""
        if self._lives.keys() != self._outside.members().keys():
            return False
        spaces = self._outside.namespaces()
        links = (
            supervisor.link_in(space) if space else supervisor.link
            for supervisor in (life.supervisor for life in self._lives.values())
            for space in spaces or ("",)
        )
        return not any(isinstance(link, Connecting) for link in links)

    # --------------------------------------------------------------------------------------------- the engine's wishes

    def set_intents(self, key: Key, wanted: Mapping[str, Wanted]) -> None:
        """What each member should have for this key; members not named keep what they have, unattended."""
        for name, life in self._lives.items():
            life.supervisor.syncer.want(key, wanted.get(name))

    def forget(self, key: Key) -> None:
        """The ModelDeployment is gone."""
        for life in self._lives.values():
            life.supervisor.syncer.forget(key)
