"""When to try again: exponential, capped, jittered. A value: the next one is made, never changed.

Knows no clock: `now` is whatever the caller measures with, in seconds.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

Jitter = Callable[[], float]
"""Gives a number in [0, 1); `random.random` in production."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """`failures` so far and the time `at` which to try again. A delay is between half of and its full step."""

    base_s: float
    cap_s: float
    jitter: Jitter = field(compare=False, repr=False)
    failures: int = 0
    at: float = float("-inf")

    def __post_init__(self) -> None:
        if not 0 < self.base_s <= self.cap_s:
            raise ValueError(f"base_s: {self.base_s} must be above 0 and at most cap_s, {self.cap_s}")

    def next(self, now: float, *, at_least_s: float | None = None) -> "Backoff":
        """Return the back-off after one more failure. `at_least_s`: the server's own wish (Retry-After)."""
        # 64 doublings of any base are above any cap; an exponent without bound would overflow
        step = min(self.cap_s, self.base_s * 2.0 ** min(self.failures, 64))
        delay = max(step * (0.5 + self.jitter() / 2), at_least_s or 0.0)
        return replace(self, failures=self.failures + 1, at=now + delay)

    def reset(self) -> "Backoff":
        """Return the back-off after a success."""
        return replace(self, failures=0, at=float("-inf"))

    def wait_s(self, now: float) -> float:
        """Return the seconds that are left, never below zero."""
        return max(0.0, self.at - now)
