"""Where a test's base rates come from before it may bet: stable's history, or a part of the first block.

History sets base rates and scales only, so a wrong one costs power, never validity. Without any, a first block would
only teach; a giant one would waste all its labels. So some of stable's labels in it are drawn at random to teach, and
the rest is bet on: the number that teaches depends on numbers of trials alone, and which labels they are on a seed made
of the question and the block's number. Given that draw the labels bet on are as independent of those that teach as any
others, so the block's expectation stays at most 1: the alternative is fixed before the labels it is judged by.
Only counts are known, so the draw is hypergeometric. Splitting a block that does not close changes nothing: the draw
is made when it closes, from its sums.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain
from random import Random
from typing import Final

from pilotage.gate.arm import ArmCounts
from pilotage.gate.counts import Counts
from pilotage.gate.dispersion import bursts_of
from pilotage.gate.engine import History, Scope
from pilotage.gate.families import Bursts, Contrast, Family
from pilotage.gate.grids import floor_scale, margin_scale
from pilotage.gate.jaccard import Jaccard
from pilotage.gate.tallies import Row, Rows

ENOUGH_PAST: Final = 20
_HISTORY_CAP: Final = 500  # trials per stratum: more would keep an old base rate alive for too long


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What history says: the effect to look for first, how bursty outcomes are, and the base rates' counts."""

    scale: float
    bursts: Bursts
    counts: Counts


def seed_of(family: Family, clusters: Sequence[str], mix: Scope, history: History) -> Start:
    """What a test starts from; all of it is fixed before the first block."""
    rows = family.tally
    if not isinstance(rows, Rows):
        return Start(scale=1.0, bursts=Bursts(), counts=Counts.zero(0))
    past = [_sum(rows, history.get(name, ())) for name in clusters]
    match family:
        case Contrast(against_stable=True, bound=bound):
            scale = margin_scale(-bound)
        case Contrast(bound=bound):
            scale = floor_scale(bound, _mixed(past, dict(mix.weights), clusters))
        case Jaccard(margin=margin):
            scale = margin_scale(margin)
        case _:
            scale = 1.0
    return Start(scale=scale, bursts=_bursts(rows, clusters, history), counts=_joined([_capped(c) for c in past]))


def _bursts(rows: Rows, clusters: Sequence[str], history: History) -> Bursts:
    """Errors and slow requests come in bursts; labels of one row per request are taken as independent."""
    if rows.row is not Row.REQUESTS:
        return Bursts()
    blocks = [[rows.arm(counts) for counts in history.get(name, ())] for name in clusters]
    return bursts_of([[(hits, hits + misses) for hits, misses in cluster] for cluster in blocks])


def divided(block: Counts, teachers: Sequence[int], seed: str) -> tuple[Counts, Counts]:
    """(what teaches, what is bet on): half of each teacher's labels teaches, but no more than history ever would.

    Nothing is bet on base rates from fewer than 20 labels: then all of it teaches, and nothing is left out of the bet.
    """
    draws = Random(int.from_bytes(sha256(seed.encode()).digest()[:8]))  # noqa: S311  (repeatable, not secret)
    s, n = list(block.s), list(block.n)
    taught_s, taught_n = [], []
    for place in teachers:
        size = min(n[place] // 2, _HISTORY_CAP)
        hits = _hypergeometric(draws, size, s[place], n[place])
        s[place] -= hits
        n[place] -= size
        taught_s.append(hits)
        taught_n.append(size)
    return Counts.of(taught_s, taught_n), Counts.of(s, n)


def _hypergeometric(draws: Random, size: int, hits: int, trials: int) -> int:
    """Hits among ``size`` of ``trials`` labels drawn without replacement. ``random()`` is the same in every version."""
    found = 0
    for drawn in range(size):
        if draws.random() * (trials - drawn) < hits - found:
            found += 1
    return found


def _mixed(past: Sequence[Counts], weights: dict[str, float], clusters: Sequence[str]) -> float | None:
    """Stable's metric over the mix, None while some row of some cluster has no trial."""
    value = 0.0
    for counts, name in zip(past, clusters, strict=True):
        weight = weights.get(name, 0.0)
        if weight == 0:
            continue
        if min(counts.n) == 0:
            return None
        value += weight * sum(s / n for s, n in zip(counts.s, counts.n, strict=True)) / counts.strata
    return value


def _sum(rows: Rows, blocks: Sequence[ArmCounts]) -> Counts:
    total = Counts.zero(len(rows.about))
    for counts in blocks:
        total = total + Counts(width=2, cells=tuple(rows.arm(counts)))
    return total


def _capped(counts: Counts) -> Counts:
    scaled = [
        (s, n) if n <= _HISTORY_CAP else (round(s * _HISTORY_CAP / n), _HISTORY_CAP)
        for s, n in zip(counts.s, counts.n, strict=True)
    ]
    return Counts.of([s for s, _ in scaled], [n for _, n in scaled])


def _joined(parts: Sequence[Counts]) -> Counts:
    return Counts(width=2, cells=tuple(chain.from_iterable(part.cells for part in parts)))
