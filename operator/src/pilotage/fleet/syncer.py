"""Makes one member what it should be: a table key → wanted objects, compared with the cache, written where they differ.

Level-triggered: what is wanted is derived by others and kept here only to be compared; a crash loses nothing. Rules:

- an object that already says everything that is wanted is not written;
- a name that is not in the cache is read first, and one that exists without our origin is *taken*: told, looked at
  again every 30 s, and as long as it is wanted nothing at all is written;
- nothing is deleted but what `Wanted.delete` names, is ours by origin, and by its uid;
- a refusal (4xx) goes on with the other objects and is told; anything transient ends the round and is tried again;
- writes happen only while leading.

Each member has its own syncer, with its own queue and back-off, so a slow member delays only itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from pilotage.api.names import GROUP, ORIGIN_LABEL
from pilotage.api.reasons import Reason
from pilotage.fleet.cache import BY_KIND, NamespaceCache, Notify
from pilotage.kube import (
    Api,
    Conflict,
    Forbidden,
    Key,
    Manifest,
    NotFound,
    Rejected,
    Resource,
    Transient,
    is_subset,
    stamped,
)

INTENT_ANNOTATION = f"{GROUP}/intent"
"""Digest of what we last applied, on the object: shows what an intent stopped saying."""
RECHECK_S = 30.0
"""Between two looks at a name that is taken or an object that was refused."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """All that one ModelDeployment should have in one member: `apply` in order, then `delete` (kind, name) in order."""

    origin: str
    apply: tuple[Manifest, ...] = ()
    delete: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What a round met: names that are another's, and the last refusal (reason, message); `origin` is no news."""

    origin: str = field(default="", compare=False)
    taken: tuple[Manifest, ...] = ()
    error: tuple[str, str] | None = None


class Line(Protocol):
    """The queue a syncer works off: `engine.queue.WorkQueue` of keys."""

    def add(self, key: Key) -> None: ...  # noqa: D102
    def add_after(self, key: Key, delay_s: float) -> None: ...  # noqa: D102
    def retry(self, key: Key, *, at_least_s: float = 0.0) -> float: ...  # noqa: D102
    def succeed(self, key: Key) -> None: ...  # noqa: D102
    def forget(self, key: Key) -> None: ...  # noqa: D102
    async def get(self) -> Key: ...  # noqa: D102
    def done(self, key: Key) -> None: ...  # noqa: D102


@dataclass(slots=True)
class _Round:
    """One pass over one key's objects in one namespace."""

    api: Api
    cache: NamespaceCache
    origin: str
    taken: dict[tuple[str, str], Manifest] = field(default_factory=dict)
    error: tuple[str, str] | None = None
    writes: int = 0

    def refuse(self, error: Rejected, verb: str, resource: Resource, key: Key) -> None:
        """Keep the first refusal."""
        self.error = self.error or _refusal(error, verb, resource, key)


class Syncer:
    """See the module. Owns: the table and the findings of one member; lives as long as the MemberCluster."""

    def __init__(self, cluster: str, *, line: Line, leading: Callable[[], bool], notify: Notify) -> None:
        self._cluster = cluster
        self._line, self._leading, self._notify = line, leading, notify
        self._wanted: dict[Key, Wanted] = {}
        self._findings: dict[Key, Findings] = {}
        self._normalised: dict[tuple[Resource, Key], tuple[Manifest, str]] = {}
        self._absent: dict[tuple[Resource, Key], float] = {}

    def want(self, key: Key, wanted: Wanted | None) -> None:
        """Replace what the key should have here; None: leave alone what is there, and look only at taken names."""
        if wanted is None:
            self._wanted.pop(key, None)
        elif self._wanted.get(key) != wanted:
            self._wanted[key] = wanted
            self._line.succeed(key)
            self._line.add(key)

    def forget(self, key: Key) -> None:
        """The ModelDeployment is gone."""
        self._wanted.pop(key, None)
        self._findings.pop(key, None)
        self._line.forget(key)

    def findings(self, key: Key) -> Findings:
        """What the last round of this key met."""
        return self._findings.get(key, _NOTHING)

    def look(self, key: Key) -> None:
        """Something of this key changed in the member: compare again."""
        if key in self._wanted:
            self._line.add(key)

    def look_at_all(self, namespace: str) -> None:
        """A namespace's cache is filled (again): compare everything there."""
        for key in self._wanted.keys() | self._findings.keys():
            if key.namespace == namespace:
                self._line.add(key)

    async def work(self, api: Api, cache_of: Callable[[str], NamespaceCache | None]) -> None:
        """Work off the line while connected. Ends: when cancelled. Retried: ApiError, per key."""
        while True:
            key = await self._line.get()
            try:
                await self._sync(api, cache_of(key.namespace), key)
            except Transient as error:
                delay_s = self._line.retry(key, at_least_s=error.after_s or 0.0)
                log.info("sync.retry", cluster=self._cluster, key=str(key), error=str(error), delay_s=round(delay_s, 1))
            except Conflict:
                self._line.retry(key)
            except Exception as error:  # one of three places: a bug in one key must not stop the member
                delay_s = self._line.retry(key)
                log.exception("sync.failed", cluster=self._cluster, key=str(key), error=repr(error))
            finally:
                self._line.done(key)

    async def _sync(self, api: Api, cache: NamespaceCache | None, key: Key) -> None:
        wanted, before = self._wanted.get(key), self.findings(key)
        if cache is None or not cache.is_synced or not self._leading():
            return  # `look_at_all` comes back when that has changed
        now = _Round(api=api, cache=cache, origin=wanted.origin if wanted else before.origin)
        for taken in before.taken:
            await self._live(now, BY_KIND[taken["kind"]], Key.of(taken))
        if wanted is not None:
            await self._fulfil(now, key, wanted)
        self._finish(key, now)

    async def _fulfil(self, now: _Round, key: Key, wanted: Wanted) -> None:
        """All names are looked at before the first write: with one of them taken, nothing is written at all."""
        intents = [stamped(intent, annotation=INTENT_ANNOTATION) for intent in wanted.apply]
        found = [await self._live(now, BY_KIND[intent["kind"]], Key.of(intent)) for intent in intents]
        if any((intent["kind"], intent["metadata"]["name"]) in now.taken for intent in intents):
            return
        for intent, live in zip(intents, found, strict=True):
            # decided anew meanwhile, or not leading any more: the rest of this is not wanted
            if self._wanted.get(key) is not wanted or not self._leading():
                return
            if live is not _UNREADABLE:
                await self._apply(now, intent, live)
        for kind, name in wanted.delete if now.error is None else ():
            if self._wanted.get(key) is not wanted or not self._leading():
                return
            await self._delete(now, BY_KIND[kind], name)

    def _finish(self, key: Key, now: _Round) -> None:
        findings = Findings(origin=now.origin, taken=tuple(now.taken.values()), error=now.error)
        news = findings != self.findings(key)
        self._findings[key] = findings
        if now.error is None and not now.taken:
            self._line.succeed(key)
        else:
            self._line.add_after(key, RECHECK_S)
        if news or now.writes:
            self._notify(key)

    async def _live(self, now: _Round, resource: Resource, key: Key) -> Manifest | None:
        """The object of this name, asked for if our label selector does not show it; one of others' is noted."""
        live = now.cache.get(resource, key.name)
        if live is None:
            if self._absent.get((resource, key), float("-inf")) > _loop_time() - RECHECK_S:
                return None  # a round that broke off after this look is being tried again
            try:
                live = await now.api.get(resource, key)
            except NotFound:
                self._absent[resource, key] = _loop_time()
                return None
            except Forbidden as error:
                now.refuse(error, "get", resource, key)
                return _UNREADABLE
            live = {"apiVersion": resource.api_version, "kind": resource.kind, **live}
        if _origin(live) != now.origin:
            now.taken[resource.kind, key.name] = live
        return live

    async def _apply(self, now: _Round, intent: Manifest, live: Manifest | None) -> None:
        """Write one object if it does not say all of the intent yet."""
        resource, key = BY_KIND[intent["kind"]], Key.of(intent)
        if live is not None and (is_subset(intent, live) or self._is_normalised(resource, key, intent, live)):
            now.cache.put(resource, live)
            return
        try:
            answer = await now.api.apply(resource, intent)
        except Conflict:
            raise
        except Rejected as error:
            now.refuse(error, "patch", resource, key)
            log.warning("sync.refused", cluster=self._cluster, kind=resource.kind, key=str(key), error=str(error))
            return
        now.writes += 1
        log.info("sync.applied", cluster=self._cluster, kind=resource.kind, key=str(key))
        now.cache.put(resource, answer)
        self._absent.pop((resource, key), None)
        self._normalised.pop((resource, key), None)
        if not is_subset(intent, answer):
            self._normalised[resource, key] = (intent, _moved(answer))

    def _is_normalised(self, resource: Resource, key: Key, intent: Manifest, live: Manifest) -> bool:
        """Whether the server stored exactly this intent in other words and nothing has moved since."""
        return self._normalised.get((resource, key)) == (intent, _moved(live))

    async def _delete(self, now: _Round, resource: Resource, name: str) -> None:
        live = now.cache.get(resource, name)
        if live is None or _origin(live) != now.origin or live["metadata"].get("deletionTimestamp"):
            return
        key = Key.of(live)
        try:
            await now.api.delete(resource, key, uid=live["metadata"]["uid"])
        except NotFound:
            now.cache.drop(resource, live)
        except Forbidden as error:
            now.refuse(error, "delete", resource, key)
            return
        now.writes += 1
        log.info("sync.deleted", cluster=self._cluster, kind=resource.kind, key=str(key))


_UNREADABLE: Manifest = {"metadata": {}}
"""Stands for an object that we may not get: it is neither there nor absent."""
_NOTHING = Findings()


def _loop_time() -> float:
    return asyncio.get_running_loop().time()


def _origin(live: Mapping[str, object]) -> str | None:
    return (live["metadata"].get("labels") or {}).get(ORIGIN_LABEL)  # type: ignore[attr-defined]


def _moved(live: Manifest) -> str:
    """What moves when somebody changes an object: the generation, or the version where a kind has none."""
    metadata = live["metadata"]
    return str(metadata.get("generation") or metadata.get("resourceVersion"))


def _refusal(error: Rejected, verb: str, resource: Resource, key: Key) -> tuple[str, str]:
    if isinstance(error, Forbidden):
        return (
            Reason.FORBIDDEN,
            f"may not {verb} {resource} in namespace {key.namespace}; "
            f"install chart pilotage-member into that namespace ({error.message})",
        )
    return Reason.APPLY_REFUSED, f"{resource.kind} {key}: {error.message}"
