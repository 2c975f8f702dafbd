"""The one error of this package.

Refused       the bundle must not serve; its message is a sentence: the file, what is wrong, what to do

Nothing else leaves the package for a bad bundle: errors of readers and backends are translated where they
arise.
"""

from __future__ import annotations


class Refused(Exception):
    """A bundle that must not serve, with the file at fault, the problem and the remedy."""

    def __init__(self, file: str, problem: str, remedy: str) -> None:
        self.file = file
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"bundle refused: {file}: {problem}; {remedy}")
