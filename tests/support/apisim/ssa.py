"""Server-side apply: who owns which field, what conflicts, what goes when its last owner stops saying it.

Works on plain objects and field sets; storing them is somebody else's. Source: KEP-555, structured-merge-diff
v6 `merge/update.go`. Left out: versions conversion, and per-subresource managers other than "no ownership in
status".
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

from pilotage.kube import Cause, Conflict, Object
from support.apisim.fields import FieldSet, Path, Shape, leaves, overlay, without_paths

Manager: TypeAlias = tuple[str, str]
"""Name and operation: `Apply` or `Update`."""

Managers: TypeAlias = Mapping[Manager, FieldSet]

_NOT_OWNED = frozenset({"apiVersion", "kind", "status"})
_NOT_OWNED_METADATA = frozenset(
    {
        "name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "managedFields",
        "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generateName",
    }
)  # fmt: skip


def ownable(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of an object that managers can own."""
    metadata = {k: v for k, v in found.get("metadata", {}).items() if k not in _NOT_OWNED_METADATA}
    rest = {k: v for k, v in found.items() if k not in _NOT_OWNED and k != "metadata"}
    return {**rest, "metadata": metadata} if metadata else rest


def applied_to(
    live: Object, intent: Object, managers: Managers, *, manager: str, force: bool, shape: Shape
) -> tuple[Object, Managers]:
    """Return the object and its managers after one apply. Raises Conflict when others own what would change."""
    me = (manager, "Apply")
    said = dict(leaves(ownable(intent), shape))
    there = dict(leaves(ownable(live), shape))
    changed = frozenset(path for path, value in said.items() if path not in there or there[path] != value)
    others = {name: owned for name, owned in managers.items() if name != me}
    _check_conflicts(others, changed, force=force)
    others = {name: owned - changed for name, owned in others.items()}
    kept_by_others = frozenset[Path]().union(*others.values())
    dropped = managers.get(me, frozenset()) - said.keys() - kept_by_others
    gone = frozenset(path for path in dropped if not _is_needed(path, said.keys() | kept_by_others))
    merged = overlay(without_paths(live, gone, shape), intent, shape)
    return merged, _tidy({**others, me: frozenset(said)})


def updated(live: Object, new: Object, managers: Managers, *, manager: str, shape: Shape) -> Managers:
    """Return the managers after a write that was no apply: who changes a field owns it, alone."""
    before, after = dict(leaves(ownable(live), shape)), dict(leaves(ownable(new), shape))
    changed = frozenset(p for p, value in after.items() if p not in before or before[p] != value)
    removed = frozenset(before.keys() - after.keys())
    me = (manager, "Update")
    result = {name: owned - changed - removed for name, owned in managers.items()}
    result[me] = (result.get(me, frozenset())) | changed
    return _tidy(result)


def _check_conflicts(others: Managers, changed: FieldSet, *, force: bool) -> None:
    if force:
        return
    causes = tuple(
        Cause(field=_dotted(path), reason="FieldManagerConflict", message=f'conflict with "{name}"')
        for (name, _), owned in others.items()
        for path in sorted(owned & changed, key=_dotted)
    )
    if causes:
        fields = ", ".join(cause.field for cause in causes)
        raise Conflict(f"Apply failed with {len(causes)} conflicts: {fields}", code=409)


def _is_needed(path: Path, said: "frozenset[Path] | set[Path]") -> bool:
    """Tell whether something below the path is still said: a container does not go before its content."""
    return any(len(other) > len(path) and other[: len(path)] == path for other in said)


def _tidy(managers: Managers) -> Managers:
    return {name: owned for name, owned in managers.items() if owned}


def _dotted(path: Path) -> str:
    steps = [step if isinstance(step, str) else "[" + ",".join(f'{k}="{v}"' for k, v in step) + "]" for step in path]
    return "." + ".".join(steps).replace(".[", "[")
