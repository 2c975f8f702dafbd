"""A margin against stable where the canary also answered stable's requests: pairs instead of two samples.

One request, two answers: ``x`` = canary right − stable right is +1, −1 or 0, and its variance is the rate of
disagreement instead of the sum of two binomial ones: at 90 % accuracy and 5 % disagreement a third of the labels
suffice. Whether a rollout's evidence is pairs is settled by the first labels that come, pairs or not, and never
changes after: a label counted in a pair must not count again alone. Source: statistics.md §2.7.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pilotage.gate.engine import Kind, Look, Opening, Scope
from pilotage.gate.exact import ExactState, ExactTest


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedState:
    """``paired``: None until the first labels; both engines' states, of which one moves from then on."""

    paired: bool | None
    apart: ExactState
    together: ExactState


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedTest:
    """A margin that is weighed with pairs (``together``) or as two samples (``apart``)."""

    apart: ExactTest
    together: ExactTest

    @property
    def kind(self) -> Kind:
        """A margin."""
        return self.apart.kind

    @property
    def scopes(self) -> Sequence[Scope]:
        """Those of both."""
        return self.apart.scopes

    def opened(self, opening: Opening) -> PairedState:
        """Undecided. The pass sides of earlier attempts go on, whichever kind of evidence they had."""
        earlier = opening.earlier if isinstance(opening.earlier, PairedState) else None
        return PairedState(
            paired=None,
            apart=self.apart.opened(replace(opening, earlier=earlier and earlier.apart)),
            together=self.together.opened(replace(opening, earlier=earlier and earlier.together)),
        )

    def absorb(self, state: PairedState, look: Look) -> PairedState:
        """To the engine whose evidence this rollout has."""
        if state.paired is not False:
            together = self.together.absorb(state.together, look)
            if together is not state.together:
                return replace(state, together=together, paired=True)
        if state.paired is not True:
            apart = self.apart.absorb(state.apart, look)
            if apart is not state.apart:
                return replace(state, apart=apart, paired=False)
        return state

    def turn(self, state: PairedState, look: Look, start: int) -> PairedState:
        """Both, so that the starts of the one that is used later are all there."""
        return replace(
            state,
            apart=self.apart.turn(state.apart, look, start),
            together=self.together.turn(state.together, look, start),
        )

    def log_e_pass(self, state: PairedState) -> float:
        """The product: they bet on different labels (of different attempts, if on any)."""
        return self.apart.log_e_pass(state.apart) + self.together.log_e_pass(state.together)

    def log_e_fail(self, state: PairedState, scope: int) -> float:
        """Of the engine in use."""
        if state.paired:
            return self.together.log_e_fail(state.together, scope)
        return self.apart.log_e_fail(state.apart, scope)

    def bets(self, state: PairedState) -> int:
        """Of both; one stays at 0."""
        return self.apart.bets(state.apart) + self.together.bets(state.together)

    def step_bets(self, state: PairedState) -> int:
        """Of both."""
        return self.apart.step_bets(state.apart) + self.together.step_bets(state.together)

    def encode(self, state: PairedState) -> Mapping[str, Any]:
        """JSON of both."""
        told = {"apart": self.apart.encode(state.apart), "together": self.together.encode(state.together)}
        return told if state.paired is None else told | {"paired": state.paired}

    def decode(self, raw: Mapping[str, Any]) -> PairedState:
        """Inverse of ``encode``."""
        return PairedState(
            paired=raw.get("paired"),
            apart=self.apart.decode(raw["apart"]),
            together=self.together.decode(raw["together"]),
        )
