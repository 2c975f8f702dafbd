"""What goes wrong with a request, and whose fault it is.

Rejected      the client's fault, or overload: a 4xx or 503 with a sentence that names tensor, shape and
remedy

Anything else that escapes a request is a bug of ours, and the only thing answered with 500.
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why a request was not predicted: the label of `model_rejected_total`."""

    BODY = "body"
    ENCODING = "encoding"
    SIZE = "size"
    SHAPE = "shape"
    DTYPE = "dtype"
    MISSING = "missing"
    RANGE = "range"
    CATEGORY = "category"
    FEATURE = "feature"
    OUTPUT = "output"
    SHED = "shed"
    DEADLINE = "deadline"


class Rejected(Exception):
    """A request that gets an error answer, with its HTTP status and the reason it is counted under."""

    def __init__(self, reason: Reason, message: str, *, status: int = 400) -> None:
        self.reason = reason
        self.status = status
        super().__init__(message)
