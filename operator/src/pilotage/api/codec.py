"""Frozen dataclasses to JSON and back, by their annotations: one rule for names, times and durations.

`snake_case` becomes `camelCase`. A float field named `…_s` is a duration and loses the suffix (`interval_s` ⇄
`interval: 30s`); one named `…_at`, `at`, `since` or `…_time` / `…_timestamp` is a time. Fields that are None or
equal to their default are left out, so encoding is canonical and decoding restores the same value.

`decode` never raises for bad input: it appends `path: value rule; remedy` to the problems it is given and goes on, so
that a user sees every mistake of a document at once. Unknown keys are ignored: the API server pruned or kept them.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from pilotage.api.times import format_time, parse_duration, parse_time

T = TypeVar("T")
_TIME_NAMES = ("at", "since")
_TIME_ENDINGS = ("_at", "_time", "_timestamp")


def json_name(field_name: str, kind: str) -> str:
    """The key of a field in JSON; `kind` is what `field_kind` says of it."""
    name = field_name.removesuffix("_s") if kind == "duration" else field_name
    head, *tail = name.split("_")
    return head + "".join(part.capitalize() for part in tail)


@cache
def field_kinds(cls: type) -> tuple[tuple[Field[Any], Any, str, str], ...]:
    """For each field of a dataclass: the field, its resolved type, its kind (time, duration, plain), its JSON key."""
    hints = get_type_hints(cls)
    found = []
    for field in fields(cls):
        annotation = hints[field.name]
        kind = _kind(field.name, annotation)
        found.append((field, annotation, kind, json_name(field.name, kind)))
    return tuple(found)


def _kind(name: str, annotation: Any) -> str:
    if float not in (annotation, *get_args(annotation)):
        return "plain"
    if name.endswith("_s"):
        return "duration"
    return "time" if name in _TIME_NAMES or name.endswith(_TIME_ENDINGS) else "plain"


def encode(value: Any) -> Any:
    """The JSON of a value of `api.types`."""
    if is_dataclass(value) and not isinstance(value, type):
        return _encode_dataclass(value)
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, Mapping):
        return {key: encode(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [encode(item) for item in value]
    return value


def _encode_dataclass(value: Any) -> dict[str, Any]:
    encoded = {}
    for field, _, kind, key in field_kinds(type(value)):  # type: ignore[arg-type]  # classes are hashable
        item = getattr(value, field.name)
        if item is None or _is_default(field, item):
            continue
        match kind:
            case "time":
                encoded[key] = format_time(item)
            case "duration":
                encoded[key] = format_duration(item)
            case _:
                encoded[key] = encode(item)
    return encoded


def _is_default(field: Field[Any], item: Any) -> bool:
    if field.default_factory is not MISSING:
        return bool(item == field.default_factory())
    return bool(item == field.default)


def format_duration(seconds: float) -> str:
    """Seconds as a Go duration that `parse_duration` reads back to the millisecond."""
    milliseconds = round(seconds * 1000)
    return f"{milliseconds // 1000}s" if milliseconds % 1000 == 0 else f"{milliseconds}ms"


def decode(cls: type[T], value: Any, path: str, problems: list[str]) -> T | None:
    """`value` as an instance of the dataclass `cls`; None when something it cannot do without is missing or wrong."""
    if not isinstance(value, Mapping):
        problems.append(f"{path}: {value!r} is not an object")
        return None
    before = len(problems)
    found: dict[str, Any] = {}
    for field, annotation, kind, key in field_kinds(cls):  # type: ignore[arg-type]
        where = f"{path}.{key}" if path else key
        if value.get(key) is not None:
            found[field.name] = _decode_field(annotation, kind, value[key], where, problems)
        elif field.default is MISSING and field.default_factory is MISSING and not _optional(annotation):
            problems.append(f"{where}: missing; it is required")
        elif _optional(annotation):
            found[field.name] = None
    return cls(**found) if len(problems) == before else None


def _decode_field(annotation: Any, kind: str, value: Any, path: str, problems: list[str]) -> Any:
    match kind:
        case "time":
            return _time(value, path, problems)
        case "duration":
            return duration(value, path, problems)
        case _:
            return _decode_value(annotation, value, path, problems)


def duration(value: Any, path: str, problems: list[str]) -> float | None:
    """Seconds of a duration, or None and a problem."""
    try:
        return parse_duration(value)
    except (ValueError, TypeError):
        problems.append(f"{path}: {value!r} is not a duration; write for example 90s, 10m or 1h30m")
        return None


def _time(value: Any, path: str, problems: list[str]) -> float | None:
    try:
        return parse_time(value)
    except (ValueError, TypeError, AttributeError):
        problems.append(f"{path}: {value!r} is not a time; write RFC 3339 such as 2026-01-31T12:00:00Z")
        return None


@cache
def _shape(annotation: Any) -> tuple[Any, Any, bool]:
    """Origin, first argument (for a union the one that is not None), and whether it is a dataclass."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return Union, next(arg for arg in args if arg is not type(None)), False
    return origin, args[0] if args else None, isinstance(annotation, type) and is_dataclass(annotation)


def _decode_value(annotation: Any, value: Any, path: str, problems: list[str]) -> Any:
    origin, inner, is_record = _shape(annotation)
    if is_record:
        return decode(annotation, value, path, problems)
    if origin is None and annotation is not float and type(value) is annotation:
        return value  # by far the most: a string where a string belongs
    if origin is Union:
        return _decode_value(inner, value, path, problems)
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            problems.append(f"{path}: {value!r} is not a list")
            return ()
        return tuple(_decode_value(inner, item, f"{path}[{n}]", problems) for n, item in enumerate(value))
    return _decode_scalar(annotation, origin, value, path, problems)


def _decode_scalar(annotation: Any, origin: Any, value: Any, path: str, problems: list[str]) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        allowed = [member.value for member in annotation]
        if value not in allowed:
            problems.append(f"{path}: {value!r} is not one of {', '.join(allowed)}")
            return None
        return annotation(value)
    if annotation is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    expected = Mapping if origin is not None else annotation
    if expected is Any:
        return value
    if not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool):
        problems.append(f"{path}: {value!r} is not {_ARTICLES.get(expected, 'an object')}")
        return None
    return value


_ARTICLES: Mapping[Any, str] = {str: "a string", int: "an integer", float: "a number", bool: "true or false"}


@cache
def _optional(annotation: Any) -> bool:
    return type(None) in get_args(annotation)
