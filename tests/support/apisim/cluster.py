"""The state of one simulated cluster: objects, versions, history, owners of fields, garbage collection.

This is the server side: synchronous, no clients, no faults. Objects in here are never changed, only replaced;
what goes in and out is copied. Semantics follow apiserver `registry/generic/registry/store.go` as far as the
conformance suite asks.
"""

import asyncio
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from pilotage.kube import (
    AlreadyExists,
    Conflict,
    Invalid,
    Key,
    Manifest,
    NotFound,
    Object,
    Propagation,
    Resource,
    Unavailable,
    version_of,
)
from pilotage.kube import resources as r
from support.apisim.fields import leaves
from support.apisim.kinds import BUILT_IN, Kind
from support.apisim.ssa import Managers, applied_to, ownable, updated

_FOREGROUND = "foregroundDeletion"
_SERVER_METADATA = ("uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One change: the object before (None: created) and after (None: gone); `last` is what a deletion event
    shows.
    """

    version: int
    resource: Resource
    old: Object | None
    new: Object | None
    last: Object


class Bell:
    """Rings whenever something changed. `next` counts at once: nothing is missed between looking and waiting."""

    def __init__(self) -> None:
        self._waiters: list[asyncio.Future[None]] = []

    def next(self) -> asyncio.Future[None]:
        """Return what is done at the next ring."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        return waiter

    def ring(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


@dataclass(slots=True)
class ClusterState:
    """All objects of one cluster. `wall` gives timestamps."""

    name: str = "sim"
    wall: Callable[[], datetime] = lambda: datetime.now(UTC)
    kinds: dict[tuple[str, str], Kind] = field(default_factory=dict)
    version: int = 1000
    compacted: int = 0
    history: list[Record] = field(default_factory=list)
    _objects: dict[tuple[str, str], dict[Key, Object]] = field(default_factory=dict)
    _managers: dict[str, Managers] = field(default_factory=dict)
    bell: Bell = field(default_factory=Bell)
    _uids: int = 0

    def __post_init__(self) -> None:
        for kind in BUILT_IN:
            self.serve(kind)
        for name in ("default", "kube-system"):
            self._ensure_namespace(name)

    def serve(self, kind: Kind) -> None:
        """Add (or replace) a kind, as installing its CRD does."""
        resource = kind.resource
        self.kinds[(resource.group, resource.plural)] = kind
        self._objects.setdefault((resource.group, resource.plural), {})

    def kind_of(self, resource: Resource) -> Kind:
        try:
            return self.kinds[(resource.group, resource.plural)]
        except KeyError:
            raise NotFound("the server could not find the requested resource", code=404) from None

    # --- reading
    # -----------------------------------------------------------------------------------------------

    def objects(self, resource: Resource) -> list[Object]:
        """Return the stored objects in key order: read only."""
        self.kind_of(resource)
        table = self._objects[(resource.group, resource.plural)]
        return [table[key] for key in sorted(table)]

    def find(self, resource: Resource, key: Key) -> Object | None:
        """Return the stored object: read only."""
        self.kind_of(resource)
        return self._objects[(resource.group, resource.plural)].get(key)

    def need(self, resource: Resource, key: Key) -> Object:
        found = self.find(resource, key)
        if found is None:
            raise NotFound(f'{resource} "{key.name}" not found', code=404)
        return found

    # --- writing
    # -----------------------------------------------------------------------------------------------

    def create(self, resource: Resource, manifest: Manifest, *, manager: str = "sim", applies: bool = False) -> Object:
        kind = self.kind_of(resource)
        new = copied(manifest)
        self._check_shape(kind, new)
        key = Key.of(new)
        metadata = new["metadata"]
        if metadata.get("resourceVersion"):
            raise Unavailable("resourceVersion should not be set on objects to be created", code=500)
        if self.find(resource, key) is not None:
            raise AlreadyExists(f'{resource} "{key.name}" already exists', code=409)
        if kind.has_status and resource != r.PODS:
            new.pop("status", None)
        self._uids += 1
        metadata["uid"] = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self.name}-{self._uids}"))
        metadata["creationTimestamp"] = self._stamp()
        for name in ("deletionTimestamp", "deletionGracePeriodSeconds", "generation"):
            metadata.pop(name, None)
        if kind.has_generation:
            metadata["generation"] = 1
        if key.namespace:
            self._ensure_namespace(key.namespace)
        operation = "Apply" if applies else "Update"
        owners: Managers = {(manager, operation): frozenset(dict(leaves(ownable(new), kind.shape)))}
        kind.default(new)
        kind.validate(new, None)
        return self._store(kind, None, new, owners)

    def update(
        self, resource: Resource, manifest: Manifest, *, manager: str = "sim", owners: Managers | None = None
    ) -> Object:
        """Replace all but status. `owners`: field managers, if apply has already settled them."""
        kind = self.kind_of(resource)
        new = copied(manifest)
        self._check_shape(kind, new)
        key = Key.of(new)
        old = self.need(resource, key)
        self._check_preconditions(resource, old, new["metadata"])
        for name in _SERVER_METADATA:
            _take_over(new["metadata"], old["metadata"], name)
        if kind.has_status and resource != r.PODS:
            _take_over(new, old, "status")
        if old["metadata"].get("deletionTimestamp"):
            self._check_no_new_finalizers(resource, old, new)
        kind.default(new)
        kind.validate(new, old)
        if kind.has_generation and _intent_of(new) != _intent_of(old):
            new["metadata"]["generation"] = old["metadata"]["generation"] + 1
        before = self._managers[old["metadata"]["uid"]]
        if owners is None:
            owners = updated(old, new, before, manager=manager, shape=kind.shape)
        return self._store(kind, old, new, owners)

    def update_status(self, resource: Resource, manifest: Manifest) -> Object:
        """Replace status only."""
        kind = self.kind_of(resource)
        if not kind.has_status:
            raise NotFound("the server could not find the requested resource", code=404)
        old = self.need(resource, Key.of(manifest))
        self._check_preconditions(resource, old, manifest["metadata"])
        new = {**copied(old), "status": copied(manifest.get("status") or {})}
        if not new["status"] and "status" not in old:
            del new["status"]
        kind.validate(new, old)
        return self._store(kind, old, new, self._managers[old["metadata"]["uid"]])

    def apply(self, resource: Resource, manifest: Manifest, *, manager: str, force: bool) -> Object:
        kind = self.kind_of(resource)
        intent = copied(manifest)
        self._check_shape(kind, intent)
        if intent["metadata"].get("managedFields"):
            raise Invalid("metadata.managedFields must be nil", code=400)
        intent.pop("status", None) if kind.has_status else None
        old = self.find(resource, Key.of(intent))
        if old is None:
            if intent["metadata"].get("resourceVersion"):
                raise Conflict("the object has been modified; it does not exist (any more)", code=409)
            return self.create(resource, intent, manager=manager, applies=True)
        before = self._managers[old["metadata"]["uid"]]
        merged, owners = applied_to(copied(old), intent, before, manager=manager, force=force, shape=kind.shape)
        return self.update(resource, merged, owners=owners)

    def delete(
        self,
        resource: Resource,
        key: Key,
        *,
        uid: str = "",
        propagation: Propagation = Propagation.BACKGROUND,
    ) -> None:
        kind = self.kind_of(resource)
        old = self.need(resource, key)
        if uid and old["metadata"]["uid"] != uid:
            raise Conflict(f"Precondition failed: UID in precondition: {uid}", code=409)
        finalizers = list(old["metadata"].get("finalizers") or ())
        if propagation is Propagation.FOREGROUND and _FOREGROUND not in finalizers and self._dependents(old):
            finalizers.append(_FOREGROUND)
        if not finalizers:
            self._remove(kind, old, propagation)
            return
        if not old["metadata"].get("deletionTimestamp"):
            new = copied(old)
            new["metadata"] |= {
                "deletionTimestamp": self._stamp(),
                "deletionGracePeriodSeconds": 0,
                "finalizers": finalizers,
            }
            if "generation" in new["metadata"]:
                new["metadata"]["generation"] += 1
            self._store(kind, old, new, self._managers[old["metadata"]["uid"]])
        if _FOREGROUND in finalizers:
            self._collect(old["metadata"]["uid"])

    def compact(self) -> None:
        """Forget the history: watches from earlier versions get 410."""
        self.compacted = self.version
        self.history.clear()

    # --- inside
    # ------------------------------------------------------------------------------------------------

    def _store(self, kind: Kind, old: Object | None, new: Object, owners: Managers) -> Object:
        """Put the object in under a new version, unless nothing has changed; finish a deletion that is free
        to go.
        """
        uid = new["metadata"]["uid"]
        new["metadata"]["managedFields"] = [
            {"manager": name, "operation": operation, "apiVersion": kind.resource.api_version, "fieldsType": "FieldsV1"}
            for name, operation in sorted(owners)
        ]
        if old is not None:
            new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"]
            if new == old and owners == self._managers[uid]:
                return old
        if new["metadata"].get("deletionTimestamp") and not new["metadata"].get("finalizers"):
            self._managers[uid] = owners
            self._remove(kind, new, Propagation.BACKGROUND)
            return new
        self.version += 1
        new["metadata"]["resourceVersion"] = str(self.version)
        self._managers[uid] = owners
        self._objects[(kind.resource.group, kind.resource.plural)][Key.of(new)] = new
        self._remember(Record(version=self.version, resource=kind.resource, old=old, new=new, last=new))
        return new

    def _remove(self, kind: Kind, old: Object, propagation: Propagation) -> None:
        self.version += 1
        stored = self._objects[(kind.resource.group, kind.resource.plural)].pop(Key.of(old))
        del self._managers[old["metadata"]["uid"]]
        last = copied(old)
        last["metadata"]["resourceVersion"] = str(self.version)
        self._remember(Record(version=self.version, resource=kind.resource, old=stored, new=None, last=last))
        if propagation is Propagation.ORPHAN:
            self._orphan(old["metadata"]["uid"])
        else:
            self._collect(old["metadata"]["uid"])
        self._release_foreground(old)

    def _remember(self, record: Record) -> None:
        self.history.append(record)
        self.bell.ring()

    def _dependents(self, owner: Object) -> list[tuple[Resource, Object]]:
        return self._owned_by(owner["metadata"]["uid"])

    def _owned_by(self, uid: str) -> list[tuple[Resource, Object]]:
        return [
            (self.kinds[name].resource, found)
            for name, table in self._objects.items()
            for found in list(table.values())
            if any(owner.get("uid") == uid for owner in found["metadata"].get("ownerReferences") or ())
        ]

    def _collect(self, uid: str) -> None:
        """Delete what that owner owned alone; take the reference out of what has other owners too."""
        for resource, found in self._owned_by(uid):
            others = [o for o in found["metadata"]["ownerReferences"] if o["uid"] != uid]
            if any(self._lives(owner["uid"]) for owner in others):
                metadata = {**found["metadata"], "ownerReferences": others, "resourceVersion": ""}
                self.update(resource, {**found, "metadata": metadata}, manager="gc")
            elif self.find(resource, Key.of(found)) is not None:
                self.delete(resource, Key.of(found))

    def _orphan(self, uid: str) -> None:
        for resource, found in self._owned_by(uid):
            others = [o for o in found["metadata"]["ownerReferences"] if o["uid"] != uid]
            metadata = {**found["metadata"], "ownerReferences": others, "resourceVersion": ""}
            self.update(resource, {**found, "metadata": metadata}, manager="gc")

    def _release_foreground(self, gone: Object) -> None:
        """Let owners go that waited for their last dependent."""
        for reference in gone["metadata"].get("ownerReferences") or ():
            for name, table in self._objects.items():
                for owner in list(table.values()):
                    waits = _FOREGROUND in (owner["metadata"].get("finalizers") or ())
                    if owner["metadata"]["uid"] == reference.get("uid") and waits and not self._dependents(owner):
                        finalizers = [f for f in owner["metadata"]["finalizers"] if f != _FOREGROUND]
                        metadata = {**owner["metadata"], "finalizers": finalizers, "resourceVersion": ""}
                        self.update(self.kinds[name].resource, {**owner, "metadata": metadata}, manager="gc")

    def _lives(self, uid: str) -> bool:
        return uid in self._managers

    def _check_shape(self, kind: Kind, manifest: Object) -> None:
        resource = kind.resource
        if manifest.get("apiVersion") != resource.api_version or manifest.get("kind") != resource.kind:
            given = f"{manifest.get('apiVersion')}, Kind={manifest.get('kind')}"
            raise Invalid(f"{given} does not match the expected {resource.api_version}, Kind={resource.kind}", code=400)
        metadata = manifest.setdefault("metadata", {})
        if not metadata.get("name") and metadata.get("generateName"):
            self._uids += 1
            metadata["name"] = f"{metadata['generateName']}{self._uids:05d}"
        if not metadata.get("name"):
            raise Invalid("Required value: name or generateName is required")
        if resource.namespaced and not metadata.get("namespace"):
            raise Invalid("an empty namespace may not be set during creation", code=400)

    def _check_preconditions(self, resource: Resource, old: Object, given: Manifest) -> None:
        version, uid = given.get("resourceVersion"), given.get("uid")
        if not version and self.kind_of(resource).needs_version_on_update and version is None:
            message = "metadata.resourceVersion: Invalid value: 0x0: must be specified for an update"
            raise Invalid(message)
        if version and version != old["metadata"]["resourceVersion"]:
            message = "the object has been modified; please apply your changes to the latest version"
            raise Conflict(
                f'Operation cannot be fulfilled on {resource} "{old["metadata"]["name"]}": {message}', code=409
            )
        if uid and uid != old["metadata"]["uid"]:
            raise Conflict(f"Precondition failed: UID in precondition: {uid}", code=409)

    def _check_no_new_finalizers(self, resource: Resource, old: Object, new: Object) -> None:
        added = set(new["metadata"].get("finalizers") or ()) - set(old["metadata"].get("finalizers") or ())
        if added:
            message = f"Forbidden: no new finalizers can be added if the object is being deleted, found {sorted(added)}"
            raise Invalid(f'{resource.kind} "{new["metadata"]["name"]}" is invalid: metadata.finalizers: {message}')

    def _ensure_namespace(self, name: str) -> None:
        if self.find(r.NAMESPACES, Key("", name)) is None:
            self.create(r.NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    def _stamp(self) -> str:
        return self.wall().strftime("%Y-%m-%dT%H:%M:%SZ")


def copied(manifest: Any) -> Any:
    """Return a deep copy, by the encoder that the client uses too: what is no JSON fails here."""
    return orjson.loads(orjson.dumps(manifest))


def listed_version(objects: Iterable[Object]) -> int:
    """Return the newest version among objects."""
    return max((version_of(found) for found in objects), default=0)


def _take_over(new: Object, old: Object, name: str) -> None:
    new.pop(name, None)
    if name in old:
        new[name] = copied(old[name])


def _intent_of(found: Object) -> Object:
    return {name: value for name, value in found.items() if name not in ("metadata", "status")}
