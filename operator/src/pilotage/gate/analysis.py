"""The gate's front door: specification in, then start → update → verdict, all of it pure.

An ``Analysis`` holds only the specification; everything learnt stands in the ``State`` that each call returns.
Knows no clock (blocks carry their time), no Prometheus, no rollout.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any, Final

from pilotage.gate import conditions
from pilotage.gate import memory as written
from pilotage.gate.advance import absorbed, passes_noted, turned
from pilotage.gate.blocks import decode_block
from pilotage.gate.charges import failing
from pilotage.gate.conditions import Watched
from pilotage.gate.engine import Test
from pilotage.gate.hypotheses import Tests, tests_of
from pilotage.gate.judge import Case, judge
from pilotage.gate.memory import GateMemory, Memory
from pilotage.gate.opening import decode_history, normalised, open_gate
from pilotage.gate.reach import check_classes
from pilotage.gate.spec import AnalysisSpec, GateSpec
from pilotage.gate.spec_reader import decode
from pilotage.gate.state import State
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
        check_classes(self.gates, classes)
        shares = normalised(shares)
        if not 1 <= wave <= waves:
            raise ValueError(f"wave: {wave} of {waves} cannot be; freeze waves when the rollout starts")
        names = [gate.name for gate in self.gates]
        past = decode_history(history or {}, classes=classes, clusters=tuple(shares), gates=names)
        tests, watched = self._tests(classes, shares, stable), self._watched(classes, shares)
        earlier = self._earlier(resume)
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
            sums={},
            turned={},
            gates={
                gate.name: open_gate(gate, tests[gate.name], classes=classes, history=past, earlier=earlier)
                for gate in self.gates
            },
            conditions=conditions.opened(watched, past),
            waiting={},
            expected={},
        )
        return written.encode(opened, tests, watched)

    def update(self, state: Mapping[str, Any], block: Mapping[str, object]) -> State:
        """The state after one more block. An empty block changes nothing; small ones are kept until they can close.

        Raises BlockError for a block that is not what the contract says, ValueError for a state of other gates.
        """
        memory, tests, watched = self._recall(state)
        names = [gate.name for gate in self.gates]
        news = decode_block(block, classes=memory.classes, clusters=tuple(memory.shares), gates=names)
        after = memory
        if news.step is not None and news.step != memory.step:
            after = turned(after, news.step, self.gates, tests, watched)
        if not news.is_empty:
            after = absorbed(after, news, self.gates, tests, watched)
        if after is memory:
            return state if isinstance(state, State) else State.from_dict(state)
        after = passes_noted(after, tests, self.settings.alpha)
        if after.failed is None:
            after = replace(after, failed=self._failure(after, tests, watched))
        return written.encode(after, tests, watched)

    def verdict(self, state: Mapping[str, Any]) -> Verdict:
        """What the evidence says now."""
        memory, tests, watched = self._recall(state)
        breaches = conditions.breaches(memory.conditions, watched, memory.sums)
        return judge(Case(memory=memory, gates=self.gates, tests=tests, settings=self.settings, breaches=breaches))

    def _failure(self, memory: Memory, tests: Tests, watched: Watched) -> Mapping[str, Any] | None:
        """What to remember if the gates have failed. Breaches only take evidence away: they are looked at last."""
        deciding = [gate for gate in self.gates if gate.blocking]
        if failing(memory, deciding, tests, self.settings, ()) is None:
            return None
        breaches = conditions.breaches(memory.conditions, watched, memory.sums)
        return failing(memory, deciding, tests, self.settings, breaches)

    def _tests(self, classes: Sequence[str], shares: Mapping[str, float], stable: bool) -> Tests:
        if not stable:  # nothing bets and nothing is decided; floors are reported from the sums alone
            return {gate.name: () for gate in self.gates}
        return tests_of(self.gates, classes, shares)

    def _watched(self, classes: Sequence[str], shares: Mapping[str, float]) -> Watched:
        return Watched(gates=self.gates, classes=tuple(classes), clusters=tuple(shares))

    def _recall(self, state: Mapping[str, Any]) -> tuple[Memory, Tests, Watched]:
        classes, shares, stable = written.head(state)
        if state.get("plan") != self._plan():
            raise ValueError("state: written for other gates, alpha, beta or minSamples; start the analysis anew")
        tests, watched = self._tests(classes, shares, stable), self._watched(classes, shares)
        return written.decode(state, tests, watched), tests, watched

    def _earlier(self, resume: Mapping[str, Any] | None) -> Memory | None:
        """An earlier attempt's state: of the same questions, perhaps over other clusters or with other settings.

        What speaks for gates that a broken condition withheld is left out: the counts were worth nothing, and must
        not pass the next attempt before the condition shows again. What speaks against them stays.
        """
        if resume is None:
            return None
        classes, shares, stable = written.head(resume)
        names = set(resume.get("gates", {}))
        known = [gate for gate in self.gates if gate.name in names]
        tests: Tests = tests_of(known, classes, shares) if stable else {gate.name: () for gate in known}
        watched = self._watched(classes, shares)
        memory = written.decode(resume, tests, watched)
        broken = conditions.breaches(memory.conditions, watched, memory.sums)
        spoilt = frozenset().union(*(breach.passes for breach in broken))
        gates = {name: _without_praise(gate, tests[name]) for name, gate in memory.gates.items() if name in spoilt}
        return replace(memory, gates={**memory.gates, **gates})

    def _plan(self) -> str:
        # What a rollout's planHash covers of the gates: interval and minDuration may change while it runs.
        fixed = (self.gates, self.settings.alpha, self.settings.beta, self.settings.min_samples)
        return sha256(repr(fixed).encode()).hexdigest()[:12]


def _without_praise(gate: GateMemory, tests: Sequence[Test]) -> GateMemory:
    """The gate's tests whose pass side has lost so far."""
    lost = {test.kind.value for test in tests if test.log_e_pass(gate.tests[test.kind.value]) <= 0}
    return replace(gate, tests={kind: state for kind, state in gate.tests.items() if kind in lost})
