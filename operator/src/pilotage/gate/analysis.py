"""The gate's front door: specification in, then start → update → verdict, all of it pure.

An ``Analysis`` holds only the specification; everything learnt stands in the ``State`` that each call returns.
Knows no clock (blocks carry their time), no Prometheus, no rollout.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any, Final

from pilotage.gate import state as written
from pilotage.gate.advance import Tests, absorbed, passes_noted, turned
from pilotage.gate.blocks import decode_block
from pilotage.gate.hypotheses import hypotheses_of
from pilotage.gate.judge import judge, latched_failure
from pilotage.gate.opening import decode_history, normalised, open_gate
from pilotage.gate.spec import AnalysisSpec, GateSpec, GateSpecError, Problem
from pilotage.gate.spec_reader import decode
from pilotage.gate.state import Memory, State, Traffic
from pilotage.gate.verdict import Verdict


class Analysis:
    """Gates over one wave of one rollout."""

    __slots__ = ("gates", "settings")

    def __init__(self, gates: Sequence[GateSpec], settings: AnalysisSpec) -> None:
        self.gates: Final = tuple(gates)
        self.settings: Final = settings

    @classmethod
    def from_spec(cls, spec: Mapping[str, object]) -> "Analysis":
        """Decode ``{"gates": […], "analysis": {…}}`` as users write it; raises GateSpecError."""
        return cls(*decode(spec))

    def start(
        self,
        classes: Sequence[str],
        shares: Mapping[str, float],
        history: Mapping[str, Sequence[Mapping[str, object]]] | None = None,
        wave: int = 1,
        waves: int = 1,
        resume: Mapping[str, Any] | None = None,
        *,
        stable: bool = True,
    ) -> State:
        """The state before the first block.

        ``classes``: every label either arm can give. ``shares``: each cluster's share of the served rows, frozen here.
        ``history``: stable's counts before the rollout, per cluster; a wrong one costs power, never validity.
        ``wave`` of ``waves`` (from 1; ``waves`` frozen when the rollout starts): what of beta this wave may spend.
        ``resume``: an earlier attempt's state; its pass side goes on. ``stable=False``: a first deployment.
        Raises GateSpecError for a gate whose class is not among ``classes``, ValueError for other misuse.
        """
        self._check_classes(classes)
        shares = normalised(shares)
        if not 1 <= wave <= waves:
            raise ValueError(f"wave: {wave} of {waves} cannot be; freeze waves when the rollout starts")
        past = decode_history(
            history or {}, classes=classes, clusters=tuple(shares), gates=[g.name for g in self.gates]
        )
        earlier = written.decode(resume) if resume is not None else None
        tests = self._tests(classes, shares, stable)
        opened = Memory(
            plan=self._plan(),
            classes=tuple(classes),
            shares=shares,
            wave=wave,
            waves=waves,
            stable=stable,
            step=None,
            starts=1,
            began=None,
            at=None,
            failed=None,
            traffic={name: Traffic() for name in shares},
            gates={
                gate.name: open_gate(gate, tests[gate.name], classes=classes, shares=shares, past=past, earlier=earlier)
                for gate in self.gates
            },
        )
        return written.encode(opened)

    def update(self, state: Mapping[str, Any], block: Mapping[str, object]) -> State:
        """The state after one more block. An empty block changes nothing; small ones are kept until they can close.

        Raises BlockError for a block that is not what the contract says, ValueError for a state of other gates.
        """
        memory = self._recall(state)
        news = decode_block(
            block, classes=memory.classes, clusters=tuple(memory.shares), gates=[gate.name for gate in self.gates]
        )
        tests = self._tests(memory.classes, memory.shares, memory.stable)
        after = memory
        if news.step is not None and news.step != memory.step:
            after = turned(after, news.step, tests)
        if not news.is_empty:
            after = absorbed(after, news, self.gates, tests)
        if after is memory:
            return state if isinstance(state, State) else State.from_dict(state)
        after = passes_noted(after, self.settings.alpha)
        if after.failed is None:
            after = replace(after, failed=latched_failure(after, self.gates, tests, self.settings))
        return written.encode(after)

    def verdict(self, state: Mapping[str, Any]) -> Verdict:
        """What the evidence says now."""
        memory = self._recall(state)
        return judge(memory, self.gates, self.settings, self._tests(memory.classes, memory.shares, memory.stable))

    def _tests(self, classes: Sequence[str], shares: Mapping[str, float], stable: bool) -> Tests:
        if not stable:  # nothing bets and nothing is decided; floors are reported from the totals alone
            return {gate.name: () for gate in self.gates}
        return hypotheses_of(self.gates, classes, shares)

    def _recall(self, state: Mapping[str, Any]) -> Memory:
        memory = written.decode(state)
        if memory.plan != self._plan():
            raise ValueError("state: written for other gates, alpha, beta or minSamples; start the analysis anew")
        return memory

    def _plan(self) -> str:
        # What a rollout's planHash covers of the gates: interval and minDuration may change while it runs.
        fixed = (self.gates, self.settings.alpha, self.settings.beta, self.settings.min_samples)
        return sha256(repr(fixed).encode()).hexdigest()[:12]

    def _check_classes(self, classes: Sequence[str]) -> None:
        if len(classes) < 2 or len(set(classes)) != len(classes):
            raise ValueError(f"classes: {list(classes)!r}: name every class once, at least two")
        problems = [
            Problem(
                path=f"spec.gates[{index}].class",
                value=gate.class_name,
                remedy=f"{gate.class_name!r} is not a class of this model; its classes are {', '.join(classes)}",
            )
            for index, gate in enumerate(self.gates)
            if gate.class_name is not None and gate.class_name not in classes
        ]
        if problems:
            raise GateSpecError(problems)
