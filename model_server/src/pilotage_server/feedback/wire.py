"""What pods and the collector say to each other, as JSON: paths, and a writer and a reader for each message.

`POST /v1/labels` hands over labels whose tokens are proven; `POST /v1/decisions` tells what a shadow would have
answered; `POST /v1/quality` asks for the numbers; `POST /v1/revisions` is `announcing`'s. `POST /v1/relay` comes from
another cluster, which shares no key with this one: its tokens prove themselves. Every other message is sealed (`seal`).
All kinds are idempotent: one that is repeated changes nothing. Moves no bytes itself.
"""

from collections.abc import Sequence
from typing import Any, Final

import orjson

from pilotage_server.feedback.messages import MAX_MESSAGE_ITEMS, Decision, Decisions, Delivery, Item
from pilotage_server.feedback.results import Result
from pilotage_server.feedback.token import MAX_ROWS

REVISIONS_PATH: Final = "/v1/revisions"
LABELS_PATH: Final = "/v1/labels"
DECISIONS_PATH: Final = "/v1/decisions"
QUALITY_PATH: Final = "/v1/quality"
RELAY_PATH: Final = "/v1/relay"
MAX_MESSAGE_BYTES: Final = 8 * 1024 * 1024
"""More than 5,000 items take with the longest names and every character escaped."""


class Incomprehensible(ValueError):
    """A proven message that cannot be read: another version of the server sent it."""


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
    message = read_object(body)
    rows = _rows(message, "items")
    try:
        items = tuple([Item(*row) for row in rows])
    except TypeError as error:
        raise Incomprehensible("items: an item has seven or eleven fields") from error
    for item, row in zip(items, rows, strict=True):
        _check_types(item, is_long=len(row) > 7)
    return Delivery(model=read_text(message, "model"), sender=read_text(message, "sender"), items=items)


def write_decisions(decisions: Decisions) -> bytes:
    """The body of `POST /v1/decisions`."""
    rows = [(one.request, one.at_ms, one.predicted) for one in decisions.decisions]
    return orjson.dumps({"model": decisions.model, "sender": decisions.sender, "decisions": rows})


def read_decisions(body: bytes) -> Decisions:
    """Raises `Incomprehensible`."""
    message = read_object(body)
    rows = _rows(message, "decisions")
    try:
        decisions = tuple([Decision(*row) for row in rows])
    except TypeError as error:
        raise Incomprehensible("decisions: a decision has three fields") from error
    for one in decisions:
        if not _is_time(one.at_ms) or not _is_hex(one.request, 16) or not _is_hex(one.predicted):
            raise Incomprehensible("decisions: a field has the wrong type")
    return Decisions(model=read_text(message, "model"), sender=read_text(message, "sender"), decisions=decisions)


def write_question(model: str) -> bytes:
    """The body of `POST /v1/quality`."""
    return orjson.dumps({"model": model})


def read_question(body: bytes) -> str:
    """The model a question is about. Raises `Incomprehensible`."""
    return read_text(read_object(body), "model")


def write_relay(model: str, posted: Sequence[Any]) -> bytes:
    """The body of `POST /v1/relay`: items as a client posted them."""
    return orjson.dumps({"model": model, "feedback": posted})


def read_relayed(body: bytes, expected: int) -> list[dict[str, Any]]:
    """The issuing cluster's answers, of which nothing but known texts is passed on. Raises `Incomprehensible`."""
    answers = read_object(body).get("results")
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
    words = read_object(body).get("results")
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


def read_object(body: bytes) -> dict[str, Any]:
    """A message, whatever is in it. Raises `Incomprehensible`."""
    try:
        message = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Incomprehensible("not JSON") from error
    if not isinstance(message, dict):
        raise Incomprehensible("not a JSON object")
    return message


def read_text(message: dict[str, Any], name: str) -> str:
    """A name in a message. Raises `Incomprehensible`."""
    value = message.get(name)
    if not isinstance(value, str) or not 1 <= len(value) <= 63:
        raise Incomprehensible(f"{name}: must be a string of 1 to 63 characters")
    return value
