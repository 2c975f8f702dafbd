"""Options in groups: a frozen dataclass of annotated fields becomes the options of a command, which gets one value.

So a command with twenty options has one argument for them, and two commands that share a group say it once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, fields
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Any, get_type_hints

_Command = Callable[..., None]


def takes(**groups: type) -> Callable[[_Command], _Command]:
    """The command with every field of each group as an option, in place of the argument named like the group."""

    def of(command: _Command) -> _Command:
        @wraps(command)
        def with_options(**given: Any) -> None:
            whole = {
                name: group(**{field.name: given.pop(field.name) for field in fields(group)})
                for name, group in groups.items()
            }
            command(**whole, **given)

        own = signature(command, eval_str=True).parameters.values()
        kept = [each.replace(kind=Parameter.KEYWORD_ONLY) for each in own if each.name not in groups]
        together = [*kept, *(option for group in groups.values() for option in _options(group))]
        with_options.__signature__ = Signature(together)  # type: ignore[attr-defined]
        with_options.__annotations__ = {each.name: each.annotation for each in together}
        return with_options

    return of


def _options(group: type) -> list[Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        Parameter(
            field.name,
            Parameter.KEYWORD_ONLY,
            default=Parameter.empty if field.default is MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in fields(group)
    ]
