"""The effect sizes every test bets on, and how much it stakes on each.

A grid is fixed when a rollout starts and never changes while it runs: changing it after looking would void the
guarantee. This is the only tuning the tests have. Source: statistics.md §2.2.
"""

from typing import Final

PASS_MULTIPLES: Final = (0.5, 1.0, 2.0, 4.0, 8.0)
PASS_STAKES: Final = (0.15, 0.50, 0.20, 0.10, 0.05)  # "a good canary is most likely equal"
FAIL_MULTIPLES: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
# Nearly flat in log effect: big drops in one look. A third more in the middle, where regressions of the size people
# meet lie (statistics.md has 1/8 each): that pays for the start weight of 3/4, so a first step is as quick as there.
FAIL_STAKES: Final = (0.06, 0.12, 0.14, 0.18, 0.20, 0.16, 0.08, 0.06)

_DIFFERENCE_WITHOUT_MARGIN: Final = 0.02
_FLOOR_SCALE: Final = (0.005, 0.05)

Grid = tuple[tuple[float, float], ...]
"""Pairs of (effect in the metric's units, share of the stake); the shares add up to 1."""


def pass_grid(scale: float) -> Grid:
    """Effects above the boundary that the pass side bets on."""
    return _within_reach(scale, PASS_MULTIPLES, PASS_STAKES)


def fail_grid(scale: float) -> Grid:
    """Effects below the boundary that the fail side bets on."""
    return _within_reach(scale, FAIL_MULTIPLES, FAIL_STAKES)


def margin_scale(margin: float) -> float:
    """The effect a margin gate looks for first: the margin itself, so that an equal canary passes soonest."""
    return margin if margin > 0 else _DIFFERENCE_WITHOUT_MARGIN


def floor_scale(floor: float, stable_value: float | None) -> float:
    """The effect a floor gate looks for first: how far stable's past lies from the floor, within [0.005, 0.05]."""
    if stable_value is None:
        return min(0.02, (1 - floor) / 2)
    low, high = _FLOOR_SCALE
    return min(high, max(low, abs(stable_value - floor)))


def _within_reach(scale: float, multiples: tuple[float, ...], stakes: tuple[float, ...]) -> Grid:
    # A proportion cannot differ from another by 1 or more: such effects only waste their stake.
    kept = [
        (scale * multiple, stake) for multiple, stake in zip(multiples, stakes, strict=True) if scale * multiple < 1
    ]
    total = sum(stake for _, stake in kept)
    return tuple((effect, stake / total) for effect, stake in kept)
