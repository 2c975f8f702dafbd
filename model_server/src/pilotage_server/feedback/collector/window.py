"""The last labels that matured, one revision's: what `model_quality` and the windows of `/quality` are counted from.

A row is a few bytes of fixed length, a window their concatenation, so that appending, trimming and counting 5,000
rows are single operations. A window is a value: whoever shows a snapshot shows the window that was committed with it.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Final

from pilotage_server.feedback.probabilities import LETTERS
from pilotage_server.quality.buckets import MAX_CURVES, SCORE_BUCKETS
from pilotage_server.quality.formulas import Ranking

WINDOW_LABELS: Final = 5_000
_GIVEN, _PREDICTED, _SCORED, _LOSS, _BRIER, _BUCKETS = 0, 1, 2, 3, 6, 9
_SUM_BYTES: Final = 3  # millionths of at most 6.9 nats, and of a Brier score of at most 2
_UNKNOWN: Final = SCORE_BUCKETS
_BUCKET_OF: Final = bytes.maketrans(LETTERS, bytes(range(SCORE_BUCKETS)))

WindowRow = tuple[int, int, int | None, int | None, str | None]
"""Class given, class predicted, log loss and Brier score in millionths, one letter per class."""


@dataclass(frozen=True, slots=True)
class Window:
    """The newest rows of a model of `classes` classes, in the order they matured."""

    classes: int
    rows: bytes = b""

    @property
    def labels(self) -> int:
        """How many rows there are."""
        return len(self.rows) // _stride(self.classes)

    @property
    def has_curves(self) -> bool:
        """Whether rows of so many classes keep their score buckets."""
        return self.classes <= MAX_CURVES

    def extended(self, rows: bytes, most: int) -> "Window":
        """With these rows at the end, and none beyond the newest `most`."""
        stride = _stride(self.classes)
        kept = (self.rows + rows)[-most * stride :] if most else b""
        return Window(self.classes, kept)

    def cells(self) -> dict[tuple[int, int], int]:
        """Rows by (actual, predicted)."""
        stride = _stride(self.classes)
        return dict(Counter(zip(self.rows[_GIVEN::stride], self.rows[_PREDICTED::stride], strict=True)))

    def losses(self) -> tuple[int, int, int]:
        """Rows that came with probabilities, their log loss and their Brier scores, both in millionths."""
        return sum(self.rows[_SCORED :: _stride(self.classes)]), self._sum(_LOSS), self._sum(_BRIER)

    def rankings(self) -> list[Ranking]:
        """Rows by score bucket for each class; none where there are too many classes."""
        if not self.has_curves:
            return []
        stride = _stride(self.classes)
        given = self.rows[_GIVEN::stride]
        found = []
        for class_ in range(self.classes):
            # One addition of two long numbers adds every row's bucket to 64 where the class is the true one.
            of_class = bytes(64 if other == class_ else 0 for other in range(256))
            buckets = self.rows[_BUCKETS + class_ :: stride]
            codes = int.from_bytes(buckets) + int.from_bytes(given.translate(of_class))
            rows = Counter(codes.to_bytes(len(buckets)))
            counts = [[rows.get(offset + bucket, 0) for bucket in range(SCORE_BUCKETS)] for offset in (0, 64)]
            found.append(Ranking(*counts))
        return found

    def _sum(self, at: int) -> int:
        stride, total = _stride(self.classes), 0
        for byte in range(_SUM_BYTES):
            total = 256 * total + sum(self.rows[at + byte :: stride])
        return total


def packed(row: WindowRow, classes: int) -> bytes:
    """One row of a window."""
    given, predicted, loss, brier, letters = row
    scored = loss is not None and brier is not None
    found = bytes((given, predicted, scored)) + (loss or 0).to_bytes(_SUM_BYTES) + (brier or 0).to_bytes(_SUM_BYTES)
    if classes > MAX_CURVES:
        return found
    known = letters is not None and len(letters) == classes
    return found + (letters.encode().translate(_BUCKET_OF) if known and letters else bytes([_UNKNOWN]) * classes)


def _stride(classes: int) -> int:
    return _BUCKETS + (classes if classes <= MAX_CURVES else 0)
