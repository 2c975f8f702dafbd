"""What a run is doing and how long that will take, for people who wait for it.

A run tells stages and steps to a `Progress`; one that nobody watches says nothing. `Told` writes to a stream: a line
that moves on a terminal, a new line now and then elsewhere, and nothing at all in the first two seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TextIO

QUIET_S: Final = 2.0
"""Shorter runs are over before anybody wonders."""

_MOVING_S, _LINES_S = 0.2, 10.0


class Progress:
    """Told by a run where it is; this one keeps it to itself."""

    def begin(self, what: str, steps: int = 0) -> None:
        """Enter a stage of so many steps; 0 when they cannot be counted."""

    def step(self) -> None:
        """One step is done."""

    def close(self) -> None:
        """The run is over, one way or another."""


class Told(Progress):
    """Writes to a stream; `clock` gives seconds."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._clock = stream, clock
        self._is_terminal = stream.isatty()
        self._pause = _MOVING_S if self._is_terminal else _LINES_S
        self._next = clock() + QUIET_S
        self._what, self._steps, self._done, self._since = "", 0, 0, clock()
        self._width = 0

    def begin(self, what: str, steps: int = 0) -> None:
        """Enter a stage; told at once in a run that takes long already."""
        self._what, self._steps, self._done, self._since = what, steps, 0, self._clock()
        self._tell()

    def step(self) -> None:
        """Count one step."""
        self._done += 1
        self._tell()

    def close(self) -> None:
        """Leave a terminal as it was."""
        if self._width:
            self._stream.write("\r" + " " * self._width + "\r")
            self._stream.flush()
            self._width = 0

    def _tell(self) -> None:
        now = self._clock()
        if now < self._next:
            return
        self._next = now + self._pause
        line = self._line(now - self._since)
        if self._is_terminal:
            self._stream.write("\r" + line.ljust(self._width))
            self._width = len(line)
        else:
            self._stream.write(line + "\n")
        self._stream.flush()

    def _line(self, elapsed_s: float) -> str:
        if not self._steps:
            return f"{self._what} …"
        line = f"{self._what}: {self._done} of {self._steps}"
        if 0 < self._done < self._steps:
            line += f", about {_span(elapsed_s / self._done * (self._steps - self._done))} left"
        return line


def _span(seconds: float) -> str:
    """Write a span as 0:07, 12:30 or 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


SILENT: Final = Progress()
