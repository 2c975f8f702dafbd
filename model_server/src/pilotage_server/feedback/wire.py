"""What pods and the collector say to each other: two messages, their JSON, and the proof of who sent them.

`POST /v1/revisions` announces a revision and its classes; `POST /v1/labels` hands over labels whose tokens are proven.
Every message carries HMAC-SHA256 over path, time and body under a feedback key, so only holders of the key can count.
A message repeated inside the time window changes nothing: both kinds are idempotent. Moves no bytes itself.
"""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from pilotage_server.feedback.classes import IdentityRefused, check_classes
from pilotage_server.feedback.keys import KeyRing
from pilotage_server.feedback.results import Result

REVISIONS_PATH: Final = "/v1/revisions"
LABELS_PATH: Final = "/v1/labels"
MAX_MESSAGE_ITEMS: Final = 5_000
MAX_MESSAGE_BYTES: Final = 6 * 1024 * 1024
"""More than 5,000 items take with the longest names and every character escaped."""
WINDOW_MS: Final = 60_000
"""How far the clocks of two nodes of one cluster may differ before messages and tokens are refused."""
TIME_HEADER: Final = "x-pilotage-time"
KEY_HEADER: Final = "x-pilotage-key"
MAC_HEADER: Final = "x-pilotage-mac"


class NotOurs(Exception):
    """The message does not prove that one of our pods sent it, now; the text says what failed."""


class Incomprehensible(ValueError):
    """A proven message that cannot be read: another version of the server sent it."""


@dataclass(frozen=True, slots=True)
class Item:
    """One label with what its token proves: `nonce` as 16 hex digits, `row` of `rows`, class index `predicted`."""

    revision: str
    issued_ms: int
    nonce: str
    rows: int
    row: int
    predicted: int
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """A revision that serves here, with its classes in the model's order."""

    model: str
    revision: str
    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Labels from a pod of `sender`, a revision the collector must know before it takes them."""

    model: str
    sender: str
    items: tuple[Item, ...]


def seal(ring: KeyRing, path: str, body: bytes, now_ms: int) -> dict[str, str]:
    """The headers that prove a message."""
    key = ring.signing
    mac = key.mac(_proven_bytes(path, str(now_ms), body)).hex()
    return {TIME_HEADER: str(now_ms), KEY_HEADER: str(key.kid), MAC_HEADER: mac}


def check_seal(ring: KeyRing, path: str, headers: Mapping[str, str], body: bytes, now_ms: int) -> None:
    """Raise `NotOurs` unless the headers prove this message and its time is within a minute of `now_ms`."""
    sent_at, kid, mac = (headers.get(name, "") for name in (TIME_HEADER, KEY_HEADER, MAC_HEADER))
    if not (sent_at.isascii() and sent_at.isdigit() and len(sent_at) < 16 and kid.isascii() and kid.isdigit()):
        raise NotOurs(f"headers {TIME_HEADER}, {KEY_HEADER}, {MAC_HEADER}: missing or not as our pods write them")
    key = ring.get(int(kid[:4]))
    if key is None:
        raise NotOurs(f"feedback key k{kid[:4]} is not known here; the Secret may not have been refreshed yet")
    if not hmac.compare_digest(key.mac(_proven_bytes(path, sent_at, body)).hex().encode(), mac.encode()):
        raise NotOurs("signature does not hold")
    if abs(int(sent_at) - now_ms) > WINDOW_MS:
        raise NotOurs(f"sent {(now_ms - int(sent_at)) / 1000:.0f} s ago by the sender's clock; set the nodes' clocks")


def _proven_bytes(path: str, sent_at: str, body: bytes) -> bytes:
    # Tokens under the same key start with their version byte 1, messages with "p": neither passes for the other.
    return f"pilotage message\n{path}\n{sent_at}\n".encode() + body


def write_announcement(announcement: Announcement) -> bytes:
    """The body of `POST /v1/revisions`."""
    return orjson.dumps(
        {
            "model": announcement.model,
            "revision": announcement.revision,
            "classes": list(announcement.classes),
        }
    )


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
    return Announcement(model=_text(message, "model"), revision=_text(message, "revision"), classes=tuple(classes))


def write_delivery(delivery: Delivery) -> bytes:
    """The body of `POST /v1/labels`."""
    rows = [
        (item.revision, item.issued_ms, item.nonce, item.rows, item.row, item.predicted, item.label)
        for item in delivery.items
    ]
    return orjson.dumps({"model": delivery.model, "sender": delivery.sender, "items": rows})


def read_delivery(body: bytes) -> Delivery:
    """Raises `Incomprehensible`."""
    message = _object(body)
    rows = message.get("items")
    if not isinstance(rows, list) or len(rows) > MAX_MESSAGE_ITEMS:
        raise Incomprehensible(f"items: must be a list of at most {MAX_MESSAGE_ITEMS}")
    try:
        items = tuple([Item(*row) for row in rows])
    except TypeError as error:
        raise Incomprehensible("items: an item has seven fields") from error
    for item in items:
        _check_types(item)
    return Delivery(model=_text(message, "model"), sender=_text(message, "sender"), items=items)


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


def _check_types(item: Item) -> None:
    if not (
        type(item.revision) is str
        and type(item.issued_ms) is int
        and type(item.nonce) is str
        and len(item.nonce) == 16
        and type(item.rows) is int
        and type(item.row) is int
        and type(item.predicted) is int
        and type(item.label) is str
    ):
        raise Incomprehensible("items: a field has the wrong type")


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
