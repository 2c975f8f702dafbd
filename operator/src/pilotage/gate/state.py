"""The state of an analysis as immutable JSON, opaque to callers.

``State`` is a dictionary that cannot be changed; ``json.dumps`` writes it, ``State.from_dict`` reads it back, and both
ends are equal. What stands in it: ``memory``. Knows no test and no verdict.
"""

from collections.abc import Mapping
from typing import Any, NoReturn


class _FrozenList(list[Any]):
    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("the state of an analysis cannot be changed; Analysis.update returns the next one")

    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse
    append = extend = insert = pop = remove = clear = sort = reverse = _refuse


class State(dict[str, Any]):
    """A read-only dictionary of JSON values. Equal to its own JSON; hashable it is not."""

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("the state of an analysis cannot be changed; Analysis.update returns the next one")

    __setitem__ = __delitem__ = __ior__ = _refuse
    update = setdefault = pop = popitem = clear = _refuse

    def __copy__(self) -> "State":
        return self

    def __deepcopy__(self, memo: object) -> "State":
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return State.from_dict, (self.to_dict(),)

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries and lists of the same content."""
        thawed: dict[str, Any] = _thaw(self)
        return thawed

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> "State":
        """The state that ``json.loads`` (or ``to_dict``) gave; the analysis checks it when it uses it."""
        return cls({key: _freeze(value) for key, value in raw.items()})


def _freeze(value: Any) -> Any:
    if isinstance(value, Mapping):
        return State.from_dict(value)
    if isinstance(value, list | tuple):
        return _FrozenList(_freeze(item) for item in value)
    return value


def _thaw(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _thaw(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_thaw(item) for item in value]
    return value
