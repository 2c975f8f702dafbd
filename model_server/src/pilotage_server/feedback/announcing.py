"""Announcements as JSON: `POST /v1/revisions` makes a revision known, with its classes, slices and costs.

The ledger keeps slices and costs in the same form, and reads them back with the same checks.
"""

from typing import Any

import orjson

from pilotage_server.feedback.classes import MAX_CLASS_LENGTH, Identity, IdentityRefused, check_classes
from pilotage_server.feedback.messages import Announcement
from pilotage_server.feedback.wire import Incomprehensible, read_object, read_text
from pilotage_server.quality.slices import MAX_SLICES, MAX_VALUES, Slice


def announcement_of(identity: Identity) -> Announcement:
    """What a pod tells the collector about itself."""
    return Announcement(
        model=identity.model,
        revision=identity.revision,
        classes=identity.classes,
        slices=identity.slices,
        costs=identity.costs,
    )


def write_announcement(announcement: Announcement) -> bytes:
    """The body of `POST /v1/revisions`; what is empty is left out, as collectors of an older version expect it."""
    message: dict[str, Any] = {
        "model": announcement.model,
        "revision": announcement.revision,
        "classes": announcement.classes,
    }
    if announcement.slices:
        message["slices"] = [(one.name, one.values) for one in announcement.slices]
    if announcement.costs:
        message["costs"] = announcement.costs
    return orjson.dumps(message)


def read_announcement(body: bytes) -> Announcement:
    """Raises `Incomprehensible`."""
    message = read_object(body)
    classes = message.get("classes")
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise Incomprehensible("classes: must be a list of strings")
    try:
        check_classes(tuple(classes))
    except IdentityRefused as error:
        raise Incomprehensible(str(error)) from error
    return Announcement(
        model=read_text(message, "model"),
        revision=read_text(message, "revision"),
        classes=tuple(classes),
        slices=read_slices(message.get("slices", [])),
        costs=read_costs(message.get("costs", []), len(classes)),
    )


def read_slices(written: Any) -> tuple[Slice, ...]:
    """Slices out of JSON. Raises `Incomprehensible`."""
    try:
        found = tuple(Slice(name=name, values=tuple(values)) for name, values in written)
    except (TypeError, ValueError) as error:
        raise Incomprehensible("slices: must be a list of name and values") from error
    texts = [text for one in found for text in (one.name, *one.values)]
    if len(found) > MAX_SLICES or any(len(one.values) > MAX_VALUES for one in found):
        raise Incomprehensible(f"slices: at most {MAX_SLICES} of {MAX_VALUES} values")
    if not all(isinstance(text, str) and len(text) <= MAX_CLASS_LENGTH for text in texts):
        raise Incomprehensible(f"slices: names and values are texts of at most {MAX_CLASS_LENGTH} characters")
    return found


def read_costs(written: Any, classes: int) -> tuple[tuple[float, ...], ...]:
    """A cost matrix, or none, out of JSON. Raises `Incomprehensible`."""
    if written == []:
        return ()
    rows = written if isinstance(written, list) else []
    if len(rows) != classes or not all(isinstance(row, list) and len(row) == classes for row in rows):
        raise Incomprehensible(f"costs: must be {classes} lists of {classes} numbers")
    if not all(type(cost) in (int, float) and 0 <= cost < 1e12 for row in rows for cost in row):
        raise Incomprehensible("costs: must be numbers from 0 to 1e12")
    return tuple(tuple(map(float, row)) for row in rows)
