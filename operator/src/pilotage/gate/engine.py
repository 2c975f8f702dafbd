"""The seam between a gate and the engines that weigh evidence for it.

A gate asks one or two *tests*: its metric against a fixed value (floor or ceiling), and against stable (margin). A test
is one boundary over the production mix, and its fail side also looks at every cluster alone. Which engine weighs a test
(``tests.tests_of``) follows from the metric, the average and the number of clusters, never from the counts:

* exact block e-process (``exact``): contrasts of proportions, Jaccard, linear functionals of cells, pairs;
* guarded Gaussian mixture (``gaussian``): smooth functions of counts;
* guards without labels (``guards``): may fail, are never asked for a pass.

An engine implements ``Test``. Everything else is common and lives outside: sums of counts since the wave's start (kept
once for all gates, handed in as a ``Look``), latching of passes and failures, minSamples, starts of the fail side, the
budget over tests, scopes, waves. Invariants every engine keeps:

* ``absorb`` of nothing is the identity; a state is immutable and its ``encode`` is JSON of which ``decode`` is the
  exact inverse; numbers that decide (log e-values) are the same after a round trip;
* ``log_e_pass`` is a process with expectation at most 1 (asymptotically, for the Gaussian one) while the gate is
  violated, at any look; ``log_e_fail(state, scope)`` while it is not, *with the starts' weights in it*:
  ``ln sum_i start_share(i) E_i``. So before the first bet it is ``ln start_share(1)``, and ``fail_share`` of the scope
  is applied by the judge;
* ``turn`` is called when the weight changed: what is pending is settled, fail start number ``start`` opens. A process
  of a start sees only counts since that start: ``Look.after`` minus the sums when it opened. An engine that cannot keep
  every start's counts may stop the older ones where they stand (a stopped process stays valid);
* ``opened`` with an ``earlier`` state of the same test (``retry``) continues its pass side, and nothing else of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any, Final, Protocol

from pilotage.gate.arm import ArmCounts

MIX: Final = ""
"""Name of the scope over all clusters; told from a cluster of that name by its place: the mix is the first scope."""

Arms = Mapping[str, Mapping[str, ArmCounts]]
"""``{cluster: {"stable" | "canary": counts}}``; missing clusters and arms have counted nothing."""

History = Mapping[str, Sequence[ArmCounts]]
"""Stable's counts before the rollout, block by block, per cluster."""


class Kind(StrEnum):
    """What the canary is held against. One gate has at most one test of each kind."""

    FLOOR = "floor"
    CEILING = "ceiling"
    MARGIN = "margin"
    SHIFT = "shift"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Where a test looks: clusters with their weights (adding up to 1), and its share of the wave's fail budget."""

    name: str
    weights: tuple[tuple[str, float], ...]
    fail_share: float


@dataclass(frozen=True, kw_only=True)
class Look:
    """One block of counts as engines see it. ``before``: sums since the wave's start without ``added``; ``turned``: the
    sums when the weight last changed (empty before the first change).
    """

    added: Arms
    before: Arms
    turned: Arms

    @cached_property
    def after(self) -> Arms:
        """Sums since the wave's start, this block included."""
        return plus(self.before, self.added)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What an engine may know before its first block. ``earlier``: the same test's state in the attempt before."""

    history: History
    earlier: Any | None = None


class Test(Protocol):
    """One boundary and the engine that weighs it. States are the engine's own type."""

    @property
    def kind(self) -> Kind:
        """Which of the gate's tests this is; its key in the state."""

    @property
    def scopes(self) -> Sequence[Scope]:
        """The mix first; then, if there are several clusters, each of them."""

    def opened(self, opening: Opening) -> Any:
        """The state before the first block."""

    def absorb(self, state: Any, look: Look) -> Any:
        """The state after one more block; the same object if the block has nothing for this test."""

    def turn(self, state: Any, look: Look, start: int) -> Any:
        """The weight changed: settle what is pending, open fail start number ``start`` (2, 3, …). Adds no counts."""

    def log_e_pass(self, state: Any) -> float:
        """Log e-value against "the gate is violated"; 0.0 before the first bet."""

    def log_e_fail(self, state: Any, scope: int) -> float:
        """Log of the weighted sum over starts of the e-values against "the gate is kept" in one scope."""

    def bets(self, state: Any) -> int:
        """Blocks weighed so far by all processes of the test: grows exactly when an e-value may have changed."""

    def step_bets(self, state: Any) -> int:
        """Blocks weighed by the pass side since the weight last changed."""

    def encode(self, state: Any) -> Mapping[str, Any]:
        """JSON of the state."""

    def decode(self, raw: Mapping[str, Any]) -> Any:
        """Inverse of ``encode``. May raise KeyError, TypeError or ValueError for anything else."""


def start_share(start: int) -> float:
    """Weight of fail start number ``start`` (from 1); over any number of starts they add up to at most 1.

    3/4 for the first: a bad canary is bad from its first request far more often than not, and with 1/(i(i+1)) instead
    it would cost ln 2 of evidence at the first step, up to 1.3 times the specification's labels. The rest telescopes:
    sum over i >= 2 of 1/((i−1) i) is 1.
    """
    return 0.75 if start == 1 else 0.25 / ((start - 1) * start)


def plus(left: Arms, right: Arms) -> Arms:
    """Sums of both."""
    found = dict(left)
    for name, arms in right.items():
        mine = dict(found.get(name, {}))
        for arm, counts in arms.items():
            mine[arm] = mine[arm] + counts if arm in mine else counts
        found[name] = mine
    return found


def minus(left: Arms, right: Arms) -> Arms:
    """What came to ``right`` until it was ``left``."""
    found = dict(left)
    for name, arms in right.items():
        found[name] = {arm: counts - arms[arm] if arm in arms else counts for arm, counts in left[name].items()}
    return found
