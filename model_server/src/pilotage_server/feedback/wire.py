"""What pods and the collector say to each other: the messages and their JSON.

`POST /v1/revisions` announces a revision and its classes; `POST /v1/labels` hands over labels whose tokens are proven;
`POST /v1/decisions` tells what a shadow would have answered. `POST /v1/quality` asks for the numbers.
`POST /v1/relay` comes from another cluster, which shares no key with this one: its tokens prove themselves.
Every other message is sealed (`seal`). All kinds are idempotent: one that is repeated changes nothing. Moves no bytes
itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from pilotage_server.feedback.classes import MAX_CLASS_LENGTH, IdentityRefused, check_classes
from pilotage_server.feedback.results import Result
from pilotage_server.feedback.token import MAX_ROWS
from pilotage_server.quality.slices import MAX_SLICES, MAX_VALUES, Slice

REVISIONS_PATH: Final = "/v1/revisions"
LABELS_PATH: Final = "/v1/labels"
DECISIONS_PATH: Final = "/v1/decisions"
QUALITY_PATH: Final = "/v1/quality"
RELAY_PATH: Final = "/v1/relay"
RELAYED: Final = ""
"""The sender of a delivery that came from another cluster: no revision, and no message can claim it."""
MAX_MESSAGE_ITEMS: Final = 5_000
MAX_MESSAGE_BYTES: Final = 8 * 1024 * 1024
"""More than 5,000 items take with the longest names and every character escaped."""


class Incomprehensible(ValueError):
    """A proven message that cannot be read: another version of the server sent it."""


@dataclass(frozen=True, slots=True)
class Item:
    """One label with what its token proves: `nonce` as 16 hex digits, `row` of `rows`, class index `predicted`.

    `audit`: 1 if the request was picked for labelling. In hex digits, empty where there are none: the row's encoded
    `probabilities`, the 8 bytes of the `request` where a shadow answered too, and the codes of its `slices`.
    """

    revision: str
    issued_ms: int
    nonce: str
    rows: int
    row: int
    predicted: int
    label: str
    audit: int = 0
    probabilities: str = ""
    request: str = ""
    slices: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """A revision that serves here, with its classes in the model's order, its slices and its costs, if any."""

    model: str
    revision: str
    classes: tuple[str, ...]
    slices: tuple[Slice, ...] = ()
    costs: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """What a shadow would have answered: request id as 16 hex digits, unix ms, one class index per row as hex."""

    request: str
    at_ms: int
    predicted: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decisions:
    """Decisions of a shadow, a pod of `sender`, a revision the collector must know."""

    model: str
    sender: str
    decisions: tuple[Decision, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Labels from a pod of `sender`, a revision the collector must know before it takes them."""

    model: str
    sender: str
    items: tuple[Item, ...]


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
    message = _object(body)
    classes = message.get("classes")
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise Incomprehensible("classes: must be a list of strings")
    try:
        check_classes(tuple(classes))
    except IdentityRefused as error:
        raise Incomprehensible(str(error)) from error
    return Announcement(
        model=_text(message, "model"),
        revision=_text(message, "revision"),
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


def write_delivery(delivery: Delivery) -> bytes:
    """The body of `POST /v1/labels`; an item without anything beyond its label is written in seven fields."""
    rows = [
        (item.revision, item.issued_ms, item.nonce, item.rows, item.row, item.predicted, item.label)
        if not (item.audit or item.probabilities or item.request or item.slices)
        else (
            *(item.revision, item.issued_ms, item.nonce, item.rows, item.row, item.predicted, item.label),
            *(item.audit, item.probabilities, item.request, item.slices),
        )
        for item in delivery.items
    ]
    return orjson.dumps({"model": delivery.model, "sender": delivery.sender, "items": rows})


def read_delivery(body: bytes) -> Delivery:
    """Raises `Incomprehensible`."""
    message = _object(body)
    rows = _rows(message, "items")
    try:
        items = tuple([Item(*row) for row in rows])
    except TypeError as error:
        raise Incomprehensible("items: an item has seven or eleven fields") from error
    for item, row in zip(items, rows, strict=True):
        _check_types(item, is_long=len(row) > 7)
    return Delivery(model=_text(message, "model"), sender=_text(message, "sender"), items=items)


def write_decisions(decisions: Decisions) -> bytes:
    """The body of `POST /v1/decisions`."""
    rows = [(one.request, one.at_ms, one.predicted) for one in decisions.decisions]
    return orjson.dumps({"model": decisions.model, "sender": decisions.sender, "decisions": rows})


def read_decisions(body: bytes) -> Decisions:
    """Raises `Incomprehensible`."""
    message = _object(body)
    rows = _rows(message, "decisions")
    try:
        decisions = tuple([Decision(*row) for row in rows])
    except TypeError as error:
        raise Incomprehensible("decisions: a decision has three fields") from error
    for one in decisions:
        if not _is_time(one.at_ms) or not _is_hex(one.request, 16) or not _is_hex(one.predicted):
            raise Incomprehensible("decisions: a field has the wrong type")
    return Decisions(model=_text(message, "model"), sender=_text(message, "sender"), decisions=decisions)


def write_question(model: str) -> bytes:
    """The body of `POST /v1/quality`."""
    return orjson.dumps({"model": model})


def read_question(body: bytes) -> str:
    """The model a question is about. Raises `Incomprehensible`."""
    return _text(_object(body), "model")


def write_relay(model: str, posted: Sequence[Any]) -> bytes:
    """The body of `POST /v1/relay`: items as a client posted them."""
    return orjson.dumps({"model": model, "feedback": posted})


def read_relayed(body: bytes, expected: int) -> list[dict[str, Any]]:
    """The issuing cluster's answers, of which nothing but known texts is passed on. Raises `Incomprehensible`."""
    answers = _object(body).get("results")
    if not isinstance(answers, list) or len(answers) != expected:
        raise Incomprehensible(f"results: expected {expected}")
    found = []
    for answer in answers:
        known = answer if isinstance(answer, dict) else {}
        texts = {key: known[key] for key in ("result", "reason", "cluster") if key in known}
        if not all(isinstance(text, str) for text in texts.values()) or texts.get("result") not in set(Result):
            raise Incomprehensible("results: not as our collectors write them")
        found.append(texts)
    return found


def write_results(results: Sequence[Result]) -> bytes:
    """The collector's answer to a delivery: one word per item, in order."""
    return orjson.dumps({"results": results})


def read_results(body: bytes, expected: int) -> list[Result]:
    """Raises `Incomprehensible`, also when the answer has not one result per item."""
    words = _object(body).get("results")
    if not isinstance(words, list) or len(words) != expected:
        raise Incomprehensible(f"results: expected {expected}")
    try:
        return [Result(word) for word in words]
    except ValueError as error:
        raise Incomprehensible(f"results: {error}") from error


def _check_types(item: Item, *, is_long: bool) -> None:
    if not (
        type(item.revision) is str
        and _is_time(item.issued_ms)
        and _is_hex(item.nonce, 16)
        and type(item.rows) is int
        and item.rows <= MAX_ROWS
        and type(item.row) is int
        and type(item.predicted) is int
        and type(item.label) is str
        and (not is_long or _extras_are_right(item))
    ):
        raise Incomprehensible("items: a field has the wrong type")


def _extras_are_right(item: Item) -> bool:
    return (
        item.audit in (0, 1)
        and _is_hex(item.probabilities)
        and (item.request == "" or _is_hex(item.request, 16))
        and _is_hex(item.slices)
    )


def _is_time(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**53


def _is_hex(text: Any, digits: int | None = None) -> bool:
    if not isinstance(text, str) or len(text) % 2 or (digits is not None and len(text) != digits):
        return False
    try:
        return text == "" or bytes.fromhex(text).hex() == text
    except ValueError:
        return False


def _rows(message: dict[str, Any], name: str) -> list[Any]:
    rows = message.get(name)
    if not isinstance(rows, list) or len(rows) > MAX_MESSAGE_ITEMS:
        raise Incomprehensible(f"{name}: must be a list of at most {MAX_MESSAGE_ITEMS}")
    return rows


def _object(body: bytes) -> dict[str, Any]:
    try:
        message = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Incomprehensible("not JSON") from error
    if not isinstance(message, dict):
        raise Incomprehensible("not a JSON object")
    return message


def _text(message: dict[str, Any], name: str) -> str:
    value = message.get(name)
    if not isinstance(value, str) or not 1 <= len(value) <= 63:
        raise Incomprehensible(f"{name}: must be a string of 1 to 63 characters")
    return value
