"""Which predictions a step's evidence is made of, in maturity time (prediction time + labelDelay).

A weight change begins when the next step was asked for and is over when that was observed; 15 s on either side are
left out, because neither clock nor proxy is exact. So every block lies inside one weight. Source: design.md §8.5.
"""

from __future__ import annotations

from pilotage.api.times import seconds
from pilotage.api.types import WaveRecord
from pilotage.evidence.reading import Window

EXCLUSION_S = 15.0


def window_of(wave: WaveRecord, step: int, label_delay_s: float) -> Window | None:
    """The window of one step record; None while its weight is not observed, or when nothing is left of it."""
    if step >= len(wave.steps):
        return None
    observed_at = wave.steps[step].observed_at
    if observed_at is None:
        return None
    opens = seconds(observed_at + EXCLUSION_S + label_delay_s)
    if step + 1 == len(wave.steps):
        return Window(step=step, opens=opens, closes=None)
    closes = seconds(wave.steps[step + 1].started_at - EXCLUSION_S + label_delay_s)
    return Window(step=step, opens=opens, closes=closes) if closes > opens else None


def window_from(wave: WaveRecord, step: int, label_delay_s: float) -> Window | None:
    """The first window that has something to count, from `step` on."""
    for index in range(step, len(wave.steps)):
        window = window_of(wave, index, label_delay_s)
        if window is not None:
            return window
    return None
