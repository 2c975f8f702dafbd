"""Objects of one selection in memory, by key and by owner. One writer: the task that follows the selection,
plus write-through by whoever just wrote an object.

Only newer resourceVersions replace older ones, so a late event never undoes an answer that was put in. What
is handed out is shared: read it, never change it. Kept without managedFields and kubectl's last-applied
annotation. No I/O.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from pilotage.kube.api import Key, Manifest, version_of

OwnerOf = Callable[[Manifest], str | None]
"""Derives from an object's labels whom it belongs to; None for nobody."""

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One object before and after; `old` is None for a new one, `new` for one that is gone."""

    key: Key
    old: Manifest | None
    new: Manifest | None


def nobody(_: Manifest) -> str | None:
    """Own nothing: for selections that are looked up by key only."""
    return None


class Store:
    """The cache. Iteration and lookups are in key order, so that what is derived from them is deterministic."""

    def __init__(self, owner_of: OwnerOf = nobody) -> None:
        self._owner_of = owner_of
        self._objects: dict[Key, Manifest] = {}
        self._owned: defaultdict[str, set[Key]] = defaultdict(set)

    def __len__(self) -> int:
        return len(self._objects)

    def __contains__(self, key: Key) -> bool:
        return key in self._objects

    def get(self, key: Key) -> Manifest | None:
        """Return the object, to be read only."""
        return self._objects.get(key)

    def keys(self) -> tuple[Key, ...]:
        """Return all keys, sorted."""
        return tuple(sorted(self._objects))

    def objects(self) -> tuple[Manifest, ...]:
        """Return all objects in key order, to be read only."""
        return tuple(self._objects[key] for key in sorted(self._objects))

    def by_owner(self, owner: str) -> tuple[Manifest, ...]:
        """Return the objects of one owner in key order, to be read only."""
        return tuple(self._objects[key] for key in sorted(self._owned.get(owner, ())))

    def owners(self) -> tuple[str, ...]:
        """Return everybody who owns something, sorted."""
        return tuple(sorted(owner for owner, keys in self._owned.items() if keys))

    def put(self, found: Manifest) -> Change | None:
        """Take an object in, from an event or from the answer to a write. None when it is no news."""
        key = Key.of(found)
        old = self._objects.get(key)
        if old is not None and version_of(found) <= version_of(old):
            return None
        new = slim(found)
        self._forget_owner(key, old)
        self._objects[key] = new
        owner = self._owner_of(new)
        if owner is not None:
            self._owned[owner].add(key)
        return Change(key=key, old=old, new=new)

    def drop(self, found: Manifest) -> Change | None:
        """Take a deletion in. None when the key is unknown, or when a newer object has its name."""
        key = Key.of(found)
        old = self._objects.get(key)
        if old is None or version_of(found) < version_of(old):
            return None
        return self._remove(key)

    def drop_absent(self, listed: Iterable[Key], version: str) -> Iterator[Change]:
        """Remove what a complete list of that version lacks, unless it was written after the list was made."""
        for key in sorted(self._objects.keys() - set(listed)):
            if version_of(self._objects[key]) <= int(version or 0):
                yield self._remove(key)

    def _remove(self, key: Key) -> Change:
        old = self._objects.pop(key)
        self._forget_owner(key, old)
        return Change(key=key, old=old, new=None)

    def _forget_owner(self, key: Key, old: Manifest | None) -> None:
        owner = self._owner_of(old) if old is not None else None
        if owner is not None:
            self._owned[owner].discard(key)
            if not self._owned[owner]:
                del self._owned[owner]


def slim(found: Manifest) -> Manifest:
    """Return the object without what nobody reads; the given one stays as it is."""
    metadata: Mapping[str, object] = found["metadata"]
    annotations = metadata.get("annotations")
    has_last_applied = isinstance(annotations, dict) and _LAST_APPLIED in annotations
    if "managedFields" not in metadata and not has_last_applied:
        return found
    kept = {name: value for name, value in metadata.items() if name != "managedFields"}
    if isinstance(annotations, dict) and has_last_applied:
        kept["annotations"] = {name: value for name, value in annotations.items() if name != _LAST_APPLIED}
    return {**found, "metadata": kept}
