"""RFC 6902 JSON patches. Values are never shared with the patch."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from pilotage.kube import Invalid


def json_patch(target: Any, operations: Sequence[Mapping[str, Any]]) -> Any:
    """Return the target with all operations done, or raise Invalid and do none."""
    result = copy.deepcopy(target)
    for operation in operations:
        path = _pointer(operation["path"])
        match operation["op"]:
            case "add":
                _add(result, path, copy.deepcopy(operation["value"]))
            case "replace":
                _lookup(result, path)
                _remove(result, path)
                _add(result, path, copy.deepcopy(operation["value"]))
            case "remove":
                _remove(result, path)
            case "test":
                if _lookup(result, path) != operation["value"]:
                    raise Invalid(f"testing path {operation['path']} failed")
            case "move" | "copy" as op:
                source = _pointer(operation["from"])
                value = copy.deepcopy(_lookup(result, source))
                if op == "move":
                    _remove(result, source)
                _add(result, path, value)
            case op:
                raise Invalid(f"unexpected kind: {op}")
    return result


def _pointer(text: str) -> list[str]:
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _lookup(target: Any, path: Sequence[str]) -> Any:
    for part in path:
        try:
            target = target[int(part)] if isinstance(target, list) else target[part]
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise Invalid(f"no value at /{'/'.join(path)}") from error
    return target


def _add(target: Any, path: Sequence[str], value: Any) -> None:
    parent = _lookup(target, path[:-1])
    if isinstance(parent, list):
        parent.insert(len(parent) if path[-1] == "-" else int(path[-1]), value)
    elif isinstance(parent, dict):
        parent[path[-1]] = value
    else:
        raise Invalid(f"no container at /{'/'.join(path[:-1])}")


def _remove(target: Any, path: Sequence[str]) -> None:
    _lookup(target, path)
    parent = _lookup(target, path[:-1])
    del parent[int(path[-1]) if isinstance(parent, list) else path[-1]]
