"""The test rows, opened once.

A figure on rows that a decision was made on says how good the decision looked, not how good it is. So the rows
stay behind a seal until everything is decided, and a second look is an error of the program, not a matter of care.
"""

from __future__ import annotations

from pilotage_server.train.data.split import Part


class Sealed:
    """Holds the test part; `open` gives it, once."""

    def __init__(self, part: Part) -> None:
        self._part: Part | None = part
        self.rows = len(part)

    def open(self) -> Part:
        """Give the test rows; raises RuntimeError the second time."""
        if self._part is None:
            raise RuntimeError("the test rows were opened before: whatever is decided now may not look at them")
        part, self._part = self._part, None
        return part
