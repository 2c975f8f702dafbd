"""The body of a feedback request into items: what can be judged by reading alone. Pure; verifies through `open_token`.

A wrong item never spoils its neighbours: it becomes an `Answer` in its place. Only a body that is no feedback request
at all is refused as a whole.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import orjson

from pilotage_server.feedback.classes import MAX_CLASS_LENGTH
from pilotage_server.feedback.keys import KeyRing
from pilotage_server.feedback.messages import Item
from pilotage_server.feedback.results import REASONS, Result
from pilotage_server.feedback.token import Forged, Token, Unreadable, open_token

MAX_BODY_BYTES: Final = 1_000_000
MAX_ITEMS: Final = 1_000
_CLUSTER_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?")


class Refused(Exception):
    """The whole request is refused with this HTTP status; the text names the remedy."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one item is told. `revision` is the proven revision it speaks of, if any; it is not sent."""

    result: Result
    reason: str = ""
    cluster: str = ""
    revision: str = ""


class Here(Protocol):
    """Where items are judged: the cluster, and the classes of the one revision whose labels can be told wrong here."""

    @property
    def cluster(self) -> str:
        """The cluster whose tokens are proven here."""

    @property
    def revision(self) -> str:
        """The revision `index` belongs to."""

    @property
    def index(self) -> Mapping[str, int]:
        """Class indices by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A cluster, judged in by something that serves no revision."""

    cluster: str
    revision: str = ""
    index: Mapping[str, int] = field(default_factory=dict)


def written(answer: Answer) -> dict[str, str]:
    """An answer as it is sent."""
    found = {"result": answer.result.value}
    if answer.reason:
        found["reason"] = answer.reason
    if answer.cluster:
        found["cluster"] = answer.cluster
    return found


def answer_of(result: Result, revision: str = "") -> Answer:
    """The answer for a result that needs no further value."""
    return Answer(result=result, reason=REASONS.get(result, ""), revision=revision)


def read_request(body: bytes) -> list[Any]:
    """The items as posted. Raises `Refused`."""
    if len(body) > MAX_BODY_BYTES:
        raise Refused(413, f"{len(body)} bytes; a feedback request holds at most {MAX_BODY_BYTES}: post smaller ones")
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refused(400, f"not JSON: {error}") from error
    items = request.get("feedback") if isinstance(request, dict) else None
    if not isinstance(items, list):
        raise Refused(400, 'write {"feedback": [{"token": …, "row": 0, "label": …}, …]}')
    if len(items) > MAX_ITEMS:
        raise Refused(413, f"{len(items)} items; a feedback request holds at most {MAX_ITEMS}: post several")
    return items


class Judge:
    """Judges the items of one request; each token is opened once, however many rows of it are labelled."""

    def __init__(self, ring: KeyRing, here: Here) -> None:
        self._ring = ring
        self._here = here
        self._opened: dict[str, Token | Answer] = {}

    def judge(self, posted: Sequence[Any]) -> list[Item | Answer]:
        """For each posted item what to hand to the collector, or its final answer."""
        return [_judge_one(item, self._ring, self._here, self._opened) for item in posted]


def _judge_one(posted: Any, ring: KeyRing, here: Here, opened: dict[str, Token | Answer]) -> Item | Answer:
    if not isinstance(posted, dict):
        return _malformed("item: must be an object with token, row and label")
    text, row, label = posted.get("token"), posted.get("row"), posted.get("label")
    if not isinstance(text, str):
        return _malformed("token: must be the string parameters.feedback_token of a prediction")
    if isinstance(label, int) and not isinstance(label, bool):
        label = str(label)
    if not isinstance(label, str) or len(label) > MAX_CLASS_LENGTH:
        return _malformed("label: must be the name of a class")
    token = opened.get(text)
    if token is None:
        token = opened[text] = _open(text, ring, here)
    if isinstance(token, Answer):
        return token
    if type(row) is not int or not 0 <= row < token.rows:
        return _malformed(f"row: must be a whole number from 0 to {token.rows - 1}", token.revision)
    if token.revision == here.revision and label not in here.index:
        return answer_of(Result.UNKNOWN_LABEL, token.revision)
    return _item(token, row, label)


def _item(token: Token, row: int, label: str) -> Item:
    return Item(
        *(token.revision, token.issued_ms, token.nonce.hex(), token.rows, row, token.predicted[row], label),
        audit=int(token.audit),
        probabilities=token.probabilities[row].hex() if token.probabilities else "",
        request=token.request.hex(),
        slices=token.slices.hex(),
    )


def _open(text: str, ring: KeyRing, here: Here) -> Token | Answer:
    try:
        token = open_token(text, ring)
    except Unreadable as error:
        return _malformed(f"token: {error}")
    cluster = token.claimed_cluster if isinstance(token, Forged) else token.cluster
    # Clusters have their own keys, so a stranger's token cannot be proven here. Sending it where it says it came from
    # trusts it with nothing: that cluster proves it.
    if cluster != here.cluster and _CLUSTER_NAME.fullmatch(cluster):
        reason = f"predicted in cluster {cluster}; post it there, this is {here.cluster}"
        return Answer(result=Result.WRONG_CLUSTER, reason=reason, cluster=cluster)
    if isinstance(token, Forged):
        if token.kid_known:
            return answer_of(Result.BAD_SIGNATURE)
        reason = f"signed with key k{token.kid}, which this cluster does not hold (any more)"
        return Answer(result=Result.BAD_SIGNATURE, reason=reason)
    return token


def _malformed(reason: str, revision: str = "") -> Answer:
    return Answer(result=Result.MALFORMED, reason=reason, revision=revision)
