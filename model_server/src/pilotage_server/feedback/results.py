"""What became of one posted label: the closed list, and the sentence that goes with each answer.

Every item of a feedback request gets exactly one `Result`. Pods decide what the token alone can tell, the collector
decides the rest. Knows no token layout, no HTTP, no database.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Result(StrEnum):
    """The answer to one item. Only `ACCEPTED` changes what will be counted."""

    ACCEPTED = "accepted"
    """Stored durably; counts once, when its prediction is `labelDelay` old, with the last value given before then."""
    DUPLICATE = "duplicate"
    """The value this row already has: a retry, or a second source that agrees."""
    CORRECTED = "corrected"
    """Another value for a row that was already counted or was already late: reported, never counted again."""
    LATE = "late"
    """The row's first label, after its prediction had matured: reported, never counted."""
    EXPIRED = "expired"
    """The prediction is older than the ledger keeps rows (30 days)."""
    HISTORY_LOST = "history_lost"
    """The prediction is older than the ledger: whether it was counted in the lost one, nobody can know."""
    UNKNOWN_LABEL = "unknown_label"
    """The label is not a class of the revision that predicted."""
    UNKNOWN_REVISION = "unknown_revision"
    """No pod of that revision has registered with this cluster's collector."""
    WRONG_CLUSTER = "wrong_cluster"
    """The prediction was made in another cluster; the answer names it."""
    BAD_SIGNATURE = "bad_signature"
    """The token was not signed with a key of this cluster, or was altered."""
    CLOCK_SKEW = "clock_skew"
    """The token was issued more than a minute after the collector's now."""
    MALFORMED = "malformed"
    """The item or its token cannot be read; the reason says where."""


REASONS: Final[Mapping[Result, str]] = {
    Result.CORRECTED: "the row already matured with another label; counted labels stay as they are",
    Result.LATE: "the prediction is older than labelDelay; post labels sooner or raise spec.feedback.labelDelay",
    Result.EXPIRED: "the prediction is older than 30 days",
    Result.HISTORY_LOST: "the prediction is older than this ledger, whose predecessor was lost with its volume",
    Result.UNKNOWN_LABEL: "not a class of the revision that predicted; write the class as the model's metadata does",
    Result.UNKNOWN_REVISION: "no pod of the revision that predicted has registered here",
    Result.BAD_SIGNATURE: "not signed with a feedback key of this cluster, or altered on the way; send it unchanged",
    Result.CLOCK_SKEW: "issued more than a minute in the future; the clocks of the cluster's nodes disagree",
}
"""Why, for answers whose reason needs no value. ACCEPTED and DUPLICATE need none; the others bring their own."""

OTHER_REVISION: Final = "other"
"""The `revision` of counters about items whose revision is unknown or unproven: one series, whatever is sent."""
