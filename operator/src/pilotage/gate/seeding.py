"""Where a test's base rates come from before it may bet: stable's history, or a part of the first block.

History sets base rates and scales only, so a wrong one costs power, never validity. Without any, a first block would
only teach; a giant one would waste all its labels. So some of stable's labels in it are drawn at random to teach, and
the rest is bet on: how many teach depends on numbers of trials alone, and the draw on a seed made of the question and
the block's number, never on outcomes. Labels drawn without regard to their outcomes leave the others as they were: the
alternative is fixed before the labels it is judged by, so over outcomes and draws the expectation is at most 1. Only
counts are known, so a draw is hypergeometric; one seed is one draw, which may be a lucky one, so the e-values of
several draws are averaged, each with its mirror image, and an average of e-values is one. Splitting a block that does
not close changes nothing: the draws are made when it closes, from its sums.
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
from pilotage.gate.families import Bursts, Contrast, Family, inside
from pilotage.gate.grids import floor_scale, margin_scale
from pilotage.gate.jaccard import Jaccard
from pilotage.gate.tallies import Row, Rows

_ENOUGH_PAST: Final = 10  # an error of the base rate cancels to first order; statistics.md waits for 20
_LEANS: Final = 20  # a stratum with fewer past trials borrows the others' rate for the rest
_PAIRS_OF_DRAWS: Final = 16
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


def base_rates(past: Counts) -> list[float] | None:
    """Rates the strata had before this block; thin strata lean on the others. None: too little past to bet on."""
    hits, trials = sum(past.s), sum(past.n)
    if trials < _ENOUGH_PAST:
        return None
    overall = (hits + 0.5) / (trials + 1)
    rates = []
    for s, n in zip(past.s, past.n, strict=True):
        lean = max(0, _LEANS - n)
        rates.append(inside((s + lean * overall + 0.5) / (n + lean + 1)))
    return rates


def divided(block: Counts, teachers: Sequence[int], seed: str) -> list[tuple[Counts, Counts]]:
    """Draws of (what teaches, what is bet on): half of each teacher's labels teaches, no more than history ever would.

    Fewer draws if there are many strata: their luck evens out by itself.
    """
    draws = Random(int.from_bytes(sha256(seed.encode()).digest()[:8]))  # noqa: S311  (repeatable, not secret)
    n = block.n
    sizes = [min(n[place] // 2, _HISTORY_CAP) for place in teachers]
    found = []
    for _ in range(max(1, _PAIRS_OF_DRAWS // block.strata)):
        luck = [[draws.random() for _ in range(size)] for size in sizes]
        mirrored = [[1 - u for u in numbers] for numbers in luck]
        found += [_drawn(block, teachers, numbers) for numbers in (luck, mirrored)]
    return found


def _drawn(block: Counts, teachers: Sequence[int], luck: Sequence[Sequence[float]]) -> tuple[Counts, Counts]:
    s, n = list(block.s), list(block.n)
    taught_s, taught_n = [], []
    for place, numbers in zip(teachers, luck, strict=True):
        hits = _hypergeometric(numbers, s[place], n[place])
        s[place] -= hits
        n[place] -= len(numbers)
        taught_s.append(hits)
        taught_n.append(len(numbers))
    return Counts.of(taught_s, taught_n), Counts.of(s, n)


def _hypergeometric(luck: Sequence[float], hits: int, trials: int) -> int:
    """Hits among as many of ``trials`` labels as there are uniform numbers, drawn without replacement."""
    found = 0
    for drawn, u in enumerate(luck):
        if u * (trials - drawn) < hits - found:
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
