"""RFC 7386 merge patches, made and applied. Pure."""

from collections.abc import Mapping
from typing import Any


def merge_diff(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return the merge patch that turns `old` into `new`; empty when they are equal. Lists are replaced
    whole.

    A None inside `new` means the same as an absent key: JSON merge patches cannot tell them apart.
    """
    patch: dict[str, Any] = {}
    for name in old:
        if old[name] is not None and new.get(name) is None:
            patch[name] = None
    for name, value in new.items():
        before = old.get(name)
        if value is None or value == before:
            continue
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            inner = merge_diff(before, value)
            if inner:
                patch[name] = inner
        else:
            patch[name] = value
    return patch


def merge(target: Any, patch: Any) -> Any:
    """Return `target` with the patch applied, leaving `target` as it was."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge(result.get(name), value)
    return result
