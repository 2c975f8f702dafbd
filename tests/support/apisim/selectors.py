"""Label and field selectors, as strings. Source: apimachinery `labels/selector.go`, `fields/selector.go`."""

import re
from collections.abc import Callable

from pilotage.kube import Manifest

Predicate = Callable[[Manifest], bool]

_IN = re.compile(r"([\w./-]+)\s+(in|notin)\s+\(([^)]*)\)")
_EQUAL = re.compile(r"([\w./-]+)\s*(==|=|!=)\s*([\w.-]*)")
_EXISTS = re.compile(r"(!?)\s*([\w./-]+)")


def label_selector(text: str) -> Predicate:
    """Return what tells whether an object's labels match."""
    requirements = [_requirement(part.strip()) for part in re.split(r",(?![^(]*\))", text) if part.strip()]

    def matches(found: Manifest) -> bool:
        labels = found["metadata"].get("labels") or {}
        return all(requirement(labels) for requirement in requirements)

    return matches


def _requirement(text: str) -> Callable[[dict[str, str]], bool]:
    if match := _IN.fullmatch(text):
        name, operator, listed = match.groups()
        values = {value.strip() for value in listed.split(",")}
        if operator == "in":
            return lambda labels: labels.get(name) in values
        return lambda labels: labels.get(name) not in values
    if match := _EQUAL.fullmatch(text):
        name, operator, value = match.groups()
        if operator == "!=":
            return lambda labels: labels.get(name) != value
        return lambda labels: labels.get(name) == value
    if match := _EXISTS.fullmatch(text):
        negated, name = match.groups()
        return lambda labels: (name in labels) is not bool(negated)
    raise ValueError(f"{text!r} is no label selector")


def field_selector(text: str) -> Predicate:
    """Return what tells whether an object's fields match: `metadata.name=x,status.phase!=Failed`."""
    parts = [_EQUAL.fullmatch(part.strip()) for part in text.split(",") if part.strip()]

    def matches(found: Manifest) -> bool:
        for part in parts:
            if part is None:
                raise ValueError(f"{text!r} is no field selector")
            value: object = found
            for name in part[1].split("."):
                value = value.get(name) if isinstance(value, dict) else None
            if (str(value or "") == part[3]) is (part[2] == "!="):
                return False
        return True

    return matches
