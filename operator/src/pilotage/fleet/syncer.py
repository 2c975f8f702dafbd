"""Makes one member what it should be: a table key → wanted objects, compared with the cache, written where they differ.

Level-triggered: what is wanted is derived by others and kept here only to be compared; a crash loses nothing. Rules:

- an object that already says everything that is wanted is not written;
- a name that is not in the cache is read first, and one that exists without our origin is *taken*: not written, told;
- nothing is deleted but what `Wanted.delete` names, is ours by origin, and by its uid;
- a refusal (4xx) goes on with the other objects and is told; anything transient ends the round and is tried again;
- writes happen only while leading.

Each member has its own syncer, with its own queue and back-off, so a slow member delays only itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from pilotage.api.names import GROUP, ORIGIN_LABEL
from pilotage.api.reasons import Reason
from pilotage.fleet.cache import BY_KIND, NamespaceCache, Notify
from pilotage.kube import (
    Api,
    ApiError,
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
from pilotage.kube.resources import HTTP_ROUTES, SERVICES

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
    """What a round met: names that are another's, and the last refusal (reason, message)."""

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
    """One pass over one key's objects."""

    taken: list[Manifest] = field(default_factory=list)
    error: tuple[str, str] | None = None
    writes: int = 0


class Syncer:
    """See the module. Owns: the table and the findings of one member; lives as long as the MemberCluster."""

    def __init__(self, cluster: str, *, line: Line, leading: Callable[[], bool], notify: Notify) -> None:
        self._cluster = cluster
        self._line, self._leading, self._notify = line, leading, notify
        self._wanted: dict[Key, Wanted] = {}
        self._findings: dict[Key, Findings] = {}
        self._normalised: dict[tuple[Resource, Key], tuple[Manifest, str]] = {}

    def want(self, key: Key, wanted: Wanted | None) -> None:
        """Replace what the key should have here; None: no opinion any more (nothing is deleted for that)."""
        if wanted is None:
            self._wanted.pop(key, None)
            self._findings.pop(key, None)
            self._line.forget(key)
        elif self._wanted.get(key) != wanted:
            self._wanted[key] = wanted
            self._line.succeed(key)
            self._line.add(key)

    def findings(self, key: Key) -> Findings:
        """What the last round of this key met."""
        return self._findings.get(key, _NOTHING)

    def look(self, key: Key) -> None:
        """Something of this key changed in the member: compare again."""
        if key in self._wanted:
            self._line.add(key)

    def look_at_all(self, namespace: str) -> None:
        """A namespace's cache is filled (again): compare everything there."""
        for key in self._wanted:
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
        wanted = self._wanted.get(key)
        if wanted is None or cache is None or not cache.is_synced or not self._leading():
            return  # `look_at_all` comes back when that has changed
        done = _Round()
        for intent in wanted.apply:
            if not await self._apply(api, cache, wanted.origin, stamped(intent, annotation=INTENT_ANNOTATION), done):
                return
        if done.error is None:
            for kind, name in wanted.delete:
                if not await self._delete(api, cache, wanted.origin, BY_KIND[kind], name, done):
                    return
        self._finish(key, done)

    def _finish(self, key: Key, done: _Round) -> None:
        findings = Findings(taken=tuple(done.taken), error=done.error)
        news = findings != self.findings(key)
        self._findings[key] = findings
        if done.error is None and not done.taken:
            self._line.succeed(key)
        else:
            self._line.add_after(key, RECHECK_S)
        if news or done.writes:
            self._notify(key)

    async def _apply(self, api: Api, cache: NamespaceCache, origin: str, intent: Manifest, done: _Round) -> bool:
        """Write one object if it is needed and ours to write; False: not leading any more, stop."""
        resource, key = BY_KIND[intent["kind"]], Key.of(intent)
        live = cache.get(resource, key.name)
        if live is None:
            try:
                live = await _look_up(api, resource, key)
            except Forbidden as error:
                done.error = done.error or _refusal(error, "get", resource, key)
                return True
        if live is not None and _origin(live) != origin:
            done.taken.append(live)
            return True
        if live is not None and (is_subset(intent, live) or self._is_normalised(resource, key, intent, live)):
            cache.put(resource, live)
            return True
        if resource is HTTP_ROUTES and any(taken.get("kind") == SERVICES.kind for taken in done.taken):
            return True  # a route must not lead to a Service that is somebody else's
        if not self._leading():
            return False
        try:
            answer = await api.apply(resource, intent)
        except Rejected as error:
            if isinstance(error, Conflict):
                raise
            done.error = done.error or _refusal(error, "patch", resource, key)
            log.warning("sync.refused", cluster=self._cluster, kind=resource.kind, key=str(key), error=str(error))
            return True
        done.writes += 1
        log.info("sync.applied", cluster=self._cluster, kind=resource.kind, key=str(key))
        cache.put(resource, answer)
        self._normalised.pop((resource, key), None)
        if not is_subset(intent, answer):
            self._normalised[resource, key] = (intent, _moved(answer))
        return True

    def _is_normalised(self, resource: Resource, key: Key, intent: Manifest, live: Manifest) -> bool:
        """Whether the server stored exactly this intent in other words and nothing has moved since."""
        return self._normalised.get((resource, key)) == (intent, _moved(live))

    async def _delete(
        self, api: Api, cache: NamespaceCache, origin: str, resource: Resource, name: str, done: _Round
    ) -> bool:
        live = cache.get(resource, name)
        if live is None or _origin(live) != origin or live["metadata"].get("deletionTimestamp"):
            return True
        if not self._leading():
            return False
        key = Key.of(live)
        try:
            await api.delete(resource, key, uid=live["metadata"]["uid"])
        except NotFound:
            cache.drop(resource, live)
        except Forbidden as error:
            done.error = done.error or _refusal(error, "delete", resource, key)
            return True
        done.writes += 1
        log.info("sync.deleted", cluster=self._cluster, kind=resource.kind, key=str(key))
        return True


_NOTHING = Findings()


async def _look_up(api: Api, resource: Resource, key: Key) -> Manifest | None:
    """The object of this name that our label selector does not show, if there is one."""
    try:
        found = await api.get(resource, key)
    except NotFound:
        return None
    return {"apiVersion": resource.api_version, "kind": resource.kind, **found}


def _origin(live: Mapping[str, object]) -> str | None:
    return (live["metadata"].get("labels") or {}).get(ORIGIN_LABEL)  # type: ignore[attr-defined]


def _moved(live: Manifest) -> str:
    """What moves when somebody changes an object: the generation, or the version where a kind has none."""
    metadata = live["metadata"]
    return str(metadata.get("generation") or metadata.get("resourceVersion"))


def _refusal(error: ApiError, verb: str, resource: Resource, key: Key) -> tuple[str, str]:
    if isinstance(error, Forbidden):
        return (
            Reason.FORBIDDEN,
            f"may not {verb} {resource} in namespace {key.namespace}; "
            f"install chart pilotage-member into that namespace ({error.message})",
        )
    return Reason.APPLY_REFUSED, f"{resource.kind} {key}: {error.message}"
