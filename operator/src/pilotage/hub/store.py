"""The hub's objects as last heard of: raw and decoded, one entry per object, newest version wins.

Writers: the watch (kopf's handlers, or an informer) and our own writes, whose answers are put in at once
(`write_through`), so that a reconcile never decides on a state older than what it wrote itself. Both may come in any
order: an older version never replaces a newer one, and a deleted uid never comes back.

`on_change` hears of every *relevant* change: of what a person may change (generation, labels, annotations, finalizers,
deletion), not of the echo of a status write. Knows no queue and no kopf.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pilotage.api import decode
from pilotage.api.names import MODEL_LABEL
from pilotage.api.types import MemberCluster, ModelDeployment, ModelRevision
from pilotage.hub.kinds import KINDS, MEMBER_CLUSTERS, MODEL_DEPLOYMENTS, MODEL_REVISIONS
from pilotage.kube import Key, Manifest, Resource, version_of
from pilotage.kube.store import slim

REMEMBERED_DELETIONS = 4096

Decoded = ModelDeployment | ModelRevision | MemberCluster | None
OnChange = Callable[[Resource, Key, bool], None]
"""Called with the kind, the key, and whether the change came from a listing (a start, not news)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One object: as the server sent it (never changed by anybody) and as a value."""

    raw: Manifest
    value: Decoded

    @property
    def version(self) -> int:
        """The resourceVersion as a number."""
        return version_of(self.raw)

    @property
    def uid(self) -> str:
        """metadata.uid."""
        return str(self.raw["metadata"].get("uid", ""))


class HubStore:
    """See the module. One writer at a time: the event loop's thread."""

    def __init__(self) -> None:
        self._entries: dict[Resource, dict[Key, Entry]] = {kind: {} for kind in KINDS}
        self._revisions_of: dict[Key, set[Key]] = {}
        self._namespaces: Counter[str] = Counter()
        self._gone: OrderedDict[str, None] = OrderedDict()
        self._listeners: list[OnChange] = []

    def listen(self, on_change: OnChange) -> None:
        """Call `on_change` at every relevant change from now on."""
        self._listeners.append(on_change)

    # ------------------------------------------------------------------------------------------------------ reading

    def entry(self, kind: Resource, key: Key) -> Entry | None:
        """The object, or None."""
        return self._entries[kind].get(key)

    def versions(self, kind: Resource) -> dict[Key, int]:
        """Every key of a kind with the version we hold."""
        return {key: entry.version for key, entry in self._entries[kind].items()}

    def deployment(self, key: Key) -> ModelDeployment | None:
        """A ModelDeployment, or None."""
        entry = self._entries[MODEL_DEPLOYMENTS].get(key)
        return entry.value if entry and isinstance(entry.value, ModelDeployment) else None

    def deployments(self) -> tuple[Key, ...]:
        """The keys of all ModelDeployments."""
        return tuple(self._entries[MODEL_DEPLOYMENTS])

    def namespaces(self) -> frozenset[str]:
        """The namespaces that hold a ModelDeployment."""
        return frozenset(self._namespaces)

    def revisions(self, deployment: Key) -> dict[str, ModelRevision]:
        """The ModelRevisions labelled with this ModelDeployment, by name."""
        entries = self._entries[MODEL_REVISIONS]
        found = (entries[key].value for key in sorted(self._revisions_of.get(deployment, ())))
        return {value.metadata.name: value for value in found if isinstance(value, ModelRevision)}

    def members(self) -> dict[str, MemberCluster]:
        """All MemberClusters by name."""
        found = (entry.value for entry in self._entries[MEMBER_CLUSTERS].values())
        return {value.metadata.name: value for value in found if isinstance(value, MemberCluster)}

    # ------------------------------------------------------------------------------------------------------ writing

    def upsert(self, kind: Resource, obj: Manifest, *, listed: bool = False) -> None:
        """Take what a watch or a list says of an object."""
        before = self._entries[kind].get(Key.of(obj))
        if self._put(kind, obj) and (before is None or _facts(before.raw) != _facts(obj)):
            self._tell(kind, Key.of(obj), listed)

    def write_through(self, kind: Resource, obj: Manifest) -> None:
        """Take the answer to our own write; it is no news to anybody."""
        metadata = obj["metadata"]
        if metadata.get("deletionTimestamp") and not metadata.get("finalizers"):
            self.remove(kind, obj)  # the last finalizer went with this write: the object is gone
        else:
            self._put(kind, obj)

    def remove(self, kind: Resource, obj: Manifest) -> None:
        """Take a deletion."""
        self.drop(kind, Key.of(obj), uid=str(obj["metadata"].get("uid", "")))

    def drop(self, kind: Resource, key: Key, *, uid: str = "") -> None:
        """Forget an object that does not exist any more; with `uid`, only if it is that one."""
        entry = self._entries[kind].get(key)
        if uid:
            self._bury(uid)
        if entry is None or (uid and entry.uid != uid):
            return
        self._bury(entry.uid)
        del self._entries[kind][key]
        self._index(kind, key, entry.raw, present=False)
        self._tell(kind, key, listed=False)

    def _put(self, kind: Resource, obj: Manifest) -> bool:
        """Store the object if it is news; tell whether it was."""
        key = Key.of(obj)
        before = self._entries[kind].get(key)
        if obj["metadata"].get("uid") in self._gone:
            return False
        if before is not None and before.uid == obj["metadata"].get("uid") and before.version >= version_of(obj):
            return False
        if before is not None:
            self._index(kind, key, before.raw, present=False)
        self._entries[kind][key] = Entry(raw=slim(obj), value=_decoded(kind, obj))
        self._index(kind, key, obj, present=True)
        return True

    def _index(self, kind: Resource, key: Key, obj: Manifest, *, present: bool) -> None:
        if kind is MODEL_DEPLOYMENTS:
            self._namespaces[key.namespace] += 1 if present else -1
            self._namespaces += Counter()  # drops what came down to zero
        if kind is not MODEL_REVISIONS:
            return
        owner = owner_of_revision(obj)
        if owner is None:
            return
        if present:
            self._revisions_of.setdefault(owner, set()).add(key)
            return
        remaining = self._revisions_of.get(owner, set())
        remaining.discard(key)
        if not remaining:
            self._revisions_of.pop(owner, None)

    def _bury(self, uid: str) -> None:
        self._gone[uid] = None
        while len(self._gone) > REMEMBERED_DELETIONS:
            self._gone.popitem(last=False)

    def _tell(self, kind: Resource, key: Key, listed: bool) -> None:
        for listener in self._listeners:
            listener(kind, key, listed)


def owner_of_revision(obj: Mapping[str, Any]) -> Key | None:
    """The ModelDeployment that a ModelRevision belongs to, by its owner reference or else its label."""
    metadata = obj["metadata"]
    for reference in metadata.get("ownerReferences") or ():
        if reference.get("kind") == MODEL_DEPLOYMENTS.kind:
            return Key(metadata.get("namespace", ""), reference["name"])
    name = (metadata.get("labels") or {}).get(MODEL_LABEL)
    return Key(metadata.get("namespace", ""), name) if name else None


def _decoded(kind: Resource, obj: Manifest) -> Decoded:
    if kind is MODEL_DEPLOYMENTS:
        return decode.model_deployment(obj)
    if kind is MODEL_REVISIONS:
        return decode.model_revision(obj)
    return decode.member_cluster(obj)


def _facts(obj: Manifest) -> tuple[Any, ...]:
    """What of an object is news to a reconcile."""
    metadata = obj["metadata"]
    names = ("uid", "generation", "labels", "annotations", "finalizers", "deletionTimestamp")
    return tuple(metadata.get(name) for name in names)
