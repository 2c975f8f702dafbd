"""What pods and the collector tell each other, as values: who serves, labels, and what a shadow decided.

`wire` and `announcing` write them as JSON and read them back. Nothing here is checked: readers check.
"""

from dataclasses import dataclass
from typing import Final

from pilotage_server.quality.slices import Slice

RELAYED: Final = ""
"""The sender of a delivery that came from another cluster: no revision, and no message can claim it."""
MAX_MESSAGE_ITEMS: Final = 5_000


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
