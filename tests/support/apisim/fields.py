"""Field sets: which fields an object mentions, as server-side apply counts them.

A path is a tuple of steps: a name (str), or an item of a keyed list (a tuple of its key pairs). Members of a
set are leaves, whole atomic lists and maps, empty containers, and keyed items themselves (so that an item
goes when its last owner lets go of it). Source: structured-merge-diff v6 `typed/tofieldset.go`; the schema is
reduced to what is needed here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

ItemKey: TypeAlias = tuple[tuple[str, Any], ...]
Step: TypeAlias = str | ItemKey
Path: TypeAlias = tuple[Step, ...]
FieldSet: TypeAlias = frozenset[Path]

_CORE_LISTS: Mapping[str, tuple[str, ...]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "env": ("name",),
    "volumes": ("name",),
    "volumeMounts": ("mountPath",),
    "imagePullSecrets": ("name",),
    "ownerReferences": ("uid",),
    "conditions": ("type",),
    "containers.ports": ("containerPort", "protocol"),
    "spec.ports": ("port", "protocol"),
    "volumeClaimTemplates": (),
}
_CORE_ATOMIC_MAPS = frozenset({"selector", "nodeSelector", "resourceFieldRef", "secretKeyRef", "configMapKeyRef"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What lists and maps of a kind mean to apply. Keys are field names, `parent.name` first, then `name`."""

    keyed_lists: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: _CORE_LISTS)
    atomic_maps: frozenset[str] = _CORE_ATOMIC_MAPS

    def keys_of(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Return the merge keys of the list at these field names; empty for an atomic list."""
        return self.keyed_lists.get(".".join(names[-2:])) or self.keyed_lists.get(names[-1], ())

    def is_atomic(self, names: tuple[str, ...]) -> bool:
        return bool(names) and names[-1] in self.atomic_maps


def item_key(item: Mapping[str, Any], keys: tuple[str, ...]) -> ItemKey:
    """Return an item's identity; the one default that takes part in a key is a port's protocol."""
    return tuple((key, item.get(key, "TCP" if key == "protocol" else None)) for key in keys)


def leaves(value: Any, shape: Shape, path: Path = (), names: tuple[str, ...] = ()) -> Iterator[tuple[Path, Any]]:
    """Yield every member of the field set with its value (None for a keyed item itself)."""
    if isinstance(value, dict) and value and not shape.is_atomic(names):
        for name, inner in value.items():
            yield from leaves(inner, shape, (*path, name), (*names, name))
    elif isinstance(value, list) and value and (keys := shape.keys_of(names)):
        for item in value:
            where = (*path, item_key(item, keys))
            yield where, None
            yield from leaves(item, shape, where, names)
    else:
        yield path, value


def without_paths(value: Any, gone: FieldSet, shape: Shape, path: Path = (), names: tuple[str, ...] = ()) -> Any:
    """Return the value without the members of `gone`; containers that become empty go too."""
    if isinstance(value, dict) and not shape.is_atomic(names):
        kept = {}
        for name, inner in value.items():
            where = (*path, name)
            if where in gone:
                continue
            rest = without_paths(inner, gone, shape, where, (*names, name))
            if rest not in ({}, []) or inner in ({}, []):
                kept[name] = rest
        return kept
    keys = shape.keys_of(names) if isinstance(value, list) and names else ()
    if not keys:
        return value
    return [
        without_paths(item, gone, shape, (*path, item_key(item, keys)), names)
        for item in value
        if (*path, item_key(item, keys)) not in gone
    ]


def overlay(live: Any, applied: Any, shape: Shape, names: tuple[str, ...] = ()) -> Any:
    """Return `live` with everything that `applied` says: maps by key, keyed lists by item, the rest replaced."""
    if isinstance(applied, dict) and isinstance(live, dict) and not shape.is_atomic(names):
        merged = dict(live)
        for name, value in applied.items():
            merged[name] = overlay(live[name], value, shape, (*names, name)) if name in live else value
        return merged
    keys = shape.keys_of(names) if isinstance(applied, list) and names else ()
    if not keys or not isinstance(live, list):
        return applied
    wanted = {item_key(item, keys): item for item in applied}
    result = [
        overlay(item, wanted.pop(key), shape, names) if (key := item_key(item, keys)) in wanted else item
        for item in live
    ]
    return result + list(wanted.values())
