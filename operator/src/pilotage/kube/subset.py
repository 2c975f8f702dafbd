"""Is this intent already there? The question that spares nearly every write.

The server adds defaults and status, other writers add fields of their own, so live objects are never equal to
intents. An intent is there when everything it says is found in the live object: maps key by key, lists of
maps by their merge key, other lists in full and in order, quantities by value. This sees hand edits and
survives restarts.

It cannot see what an intent *stopped* saying. `stamped` closes that: an annotation with the intent's digest,
part of the intent itself, so that any change of the intent is a difference. Knows no kinds beyond the merge
keys below.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from pilotage.kube.quantity import parse_quantity

MERGE_KEYS: Mapping[str, tuple[str, ...]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "env": ("name",),
    "volumes": ("name",),
    "volumeMounts": ("mountPath",),
    "imagePullSecrets": ("name",),
    "ownerReferences": ("uid",),
    "conditions": ("type",),
}
"""Field name → what identifies an item of its list (OpenAPI `x-kubernetes-list-map-keys` of the kinds we
write).
"""

_QUANTITIES = frozenset({"requests", "limits", "capacity", "allocatable"})
"""Maps whose values are quantities."""


_MAPS = (dict, Mapping)
"""In this order: asking the abstract class costs as much as comparing a field."""


def is_subset(intent: Any, live: Any) -> bool:
    """Tell whether the live object says everything that the intent says."""
    return next(differences(intent, live), None) is None


def differences(intent: Any, live: Any, path: str = "") -> Iterator[str]:
    """Yield the paths at which the live object does not say what the intent says, in the intent's order."""
    if isinstance(intent, _MAPS):
        yield from _map_differences(intent, live, path)
    elif isinstance(intent, list | tuple):
        yield from _list_differences(intent, live, path)
    elif intent != live or isinstance(intent, bool) is not isinstance(live, bool):
        yield path


def _map_differences(intent: Mapping[str, Any], live: Any, path: str) -> Iterator[str]:
    if not isinstance(live, _MAPS):
        # the server drops empty maps that have no meaning of their own (`resources: {}`, `annotations: {}`)
        if intent or live is not None:
            yield path
        return
    for name, value in intent.items():
        found = live.get(name)
        if type(value) is str and value == found:
            continue  # most fields: spares a generator for each
        where = f"{path}.{name}" if path else name
        if value is None:
            if found is not None:
                yield where
        elif name in _QUANTITIES and isinstance(value, Mapping):
            yield from _quantity_differences(value, found, where)
        else:
            yield from differences(value, found, where)


def _list_differences(intent: Sequence[Any], live: Any, path: str) -> Iterator[str]:
    if not isinstance(live, list | tuple):
        if intent or live is not None:
            yield path
        return
    keys = MERGE_KEYS.get(path.rpartition(".")[2])
    if keys is None:
        yield from _ordered_differences(intent, live, path)
        return
    by_key = {tuple(item.get(key) for key in keys): item for item in live}
    for item in intent:
        identity = tuple(item.get(key) for key in keys)
        yield from differences(item, by_key.get(identity), f"{path}[{identity[0]}]")


def _ordered_differences(intent: Sequence[Any], live: Sequence[Any], path: str) -> Iterator[str]:
    if len(intent) != len(live):
        yield path
        return
    for index, (wanted, found) in enumerate(zip(intent, live, strict=True)):
        yield from differences(wanted, found, f"{path}[{index}]")


def _quantity_differences(intent: Mapping[str, Any], live: Any, path: str) -> Iterator[str]:
    found = live if isinstance(live, Mapping) else {}
    for name, value in intent.items():
        if name not in found or not _same_quantity(value, found[name]):
            yield f"{path}.{name}"


def _same_quantity(left: Any, right: Any) -> bool:
    if left == right:
        return True
    try:
        return parse_quantity(left) == parse_quantity(right)
    except ValueError:
        return False


def stamped(intent: Mapping[str, Any], *, annotation: str) -> dict[str, Any]:
    """Return the intent with its own digest as an annotation of the object (never of a pod template).

    The digest is over canonical JSON (sorted keys), without the annotation itself: stamping twice changes
    nothing.
    """
    metadata = dict(intent["metadata"])
    annotations = {k: v for k, v in (metadata.get("annotations") or {}).items() if k != annotation}
    bare = {**intent, "metadata": {**metadata, "annotations": annotations}}
    digest = hashlib.sha256(orjson.dumps(bare, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]
    return {**intent, "metadata": {**metadata, "annotations": {**annotations, annotation: digest}}}
