"""From what is remembered to a verdict: fail before pass before not enough before undecided.

Pass needs every test of every gate that is needed (intersection–union: alpha each). Fail needs the weighted sum over
all fail processes to reach 1/beta. Guards and conditions only ever withhold a verdict, so they cannot void a guarantee.
Advisory gates report and decide nothing. Source: design.md §7, statistics.md §5.1, §5.2, §5.4.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Final

from pilotage.gate.absence import absent_from
from pilotage.gate.charges import fail_weight_of, failing
from pilotage.gate.composite import CompositeTest
from pilotage.gate.conditions import Breach
from pilotage.gate.denominators import labels_in
from pilotage.gate.engine import Kind, Test
from pilotage.gate.exact import CLOSES_AT
from pilotage.gate.hypotheses import Tests
from pilotage.gate.memory import GateMemory, Memory
from pilotage.gate.report import Bounds, canary_value, stable_value
from pilotage.gate.smooth import RIPE
from pilotage.gate.spec import AnalysisSpec, GateSpec
from pilotage.gate.verdict import GateVerdict, Outcome, Verdict

_STEP_NEEDS: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Everything a verdict is made of. ``breaches``: conditions of the guarantee that are broken now."""

    memory: Memory
    gates: Sequence[GateSpec]
    tests: Tests
    settings: AnalysisSpec
    breaches: Sequence[Breach]


def judge(case: Case) -> Verdict:
    """The verdict of this wave over all its gates."""
    memory, settings = case.memory, case.settings
    verdicts = {gate.name: _GateCase(case=case, gate=gate).judged() for gate in case.gates}
    state, reason = _overall(case, verdicts)
    needed = [gate.name for gate in case.gates if gate.needed_for_pass]
    return Verdict(
        state=state,
        reason=reason,
        gates=verdicts,
        fail_weight=fail_weight_of(memory, case.gates, case.tests, settings, case.breaches),
        alpha=settings.alpha,
        beta=settings.beta,
        step_ready=all(verdicts[name].step_labels["canary"] >= settings.min_samples for name in needed),
        coverage=_coverage(memory),
        breaches=tuple(case.breaches),
    )


def _overall(case: Case, verdicts: Mapping[str, GateVerdict]) -> tuple[Outcome, str]:
    memory = case.memory
    if memory.failed is not None:
        gate = memory.failed["gate"]
        return Outcome.FAIL, f"{gate}: {memory.failed['reasons'][gate]}"
    if not memory.stable:
        return Outcome.INCONCLUSIVE, "there is no stable revision: gates report and do not decide"
    needed = [verdicts[gate.name] for gate in case.gates if gate.needed_for_pass]
    if not needed:
        return Outcome.INCONCLUSIVE, "no gate here can pass: all are advisory or guards"
    for state in (Outcome.INSUFFICIENT_DATA, Outcome.INCONCLUSIVE):
        waiting = [f"{v.name}: {v.reason}" for v in needed if v.state is state]
        if waiting:
            return state, "; ".join(waiting)
    return Outcome.PASS, "every gate passes"


@dataclass(frozen=True, slots=True, kw_only=True)
class _GateCase:
    """One gate of a case."""

    case: Case
    gate: GateSpec

    @property
    def held(self) -> GateMemory:
        return self.case.memory.gates[self.gate.name]

    @property
    def tests(self) -> Sequence[Test]:
        return self.case.tests[self.gate.name]

    def judged(self) -> GateVerdict:
        gate, memory, held, settings = self.gate, self.case.memory, self.held, self.case.settings
        state, reason = self._outcome()
        states = [(test, held.tests[test.kind.value]) for test in self.tests]
        log_e_pass = min((test.log_e_pass(s) for test, s in states), default=0.0)
        labels = {
            arm: {c: labels_in(gate, memory.sums, arm, [c]) for c in memory.shares} for arm in ("stable", "canary")
        }
        canary, stable = held.step_from
        passed = frozenset(test.kind for test in self.tests if self._passes(test))
        return GateVerdict(
            name=gate.name,
            title=gate.title,
            state=state,
            reason=reason,
            estimate=canary_value(gate, memory),
            stable=stable_value(gate, memory),
            floor=gate.floor,
            ceiling=gate.ceiling,
            margin=gate.margin,
            advisory=not gate.blocking,
            log_e_pass=log_e_pass,
            log_e_fail=max((t.log_e_fail(s, i) for t, s in states for i in range(len(t.scopes))), default=0.0),
            labels=labels,
            step_labels={
                "stable": sum(labels["stable"].values()) - stable,
                "canary": sum(labels["canary"].values()) - canary,
            },
            blocks=sum(test.bets(s) for test, s in states),
            eta=None if state is not Outcome.INCONCLUSIVE else self._eta(log_e_pass),
            bounds=Bounds(gate=gate, tests=self.tests, memory=memory, settings=settings, passed=passed),
        )

    def _outcome(self) -> tuple[Outcome, str]:
        gate, memory = self.gate, self.case.memory
        failure = self._failure()
        if failure is not None:
            return Outcome.FAIL, failure
        if not memory.stable:
            if gate.margin is not None:
                return Outcome.NOT_APPLICABLE, "there is no stable revision to compare with"
            limit = "ceiling" if gate.is_loss else "floor"
            return Outcome.INCONCLUSIVE, f"a first deployment: the {limit} is reported and does not decide"
        if gate.is_guard:
            return Outcome.INCONCLUSIVE, "a guard: it may fail, and is not needed for a pass"
        missing = self._missing()
        if missing is not None:
            return Outcome.INSUFFICIENT_DATA, missing
        waiting = self._waiting()
        if waiting is not None:
            return Outcome.INCONCLUSIVE, waiting
        return Outcome.PASS, "the evidence rules out that the gate is violated"

    def _failure(self) -> str | None:
        failed = self.case.memory.failed
        if failed is not None and self.gate.name in failed["reasons"]:
            reason: str = failed["reasons"][self.gate.name]
            return reason
        if self.gate.blocking:
            return None
        found = failing(self.case.memory, [self.gate], self.case.tests, self.case.settings, self.case.breaches)
        return None if found is None else f"{found['reasons'][self.gate.name]}; advisory: it decides nothing"

    def _missing(self) -> str | None:
        """Why there is too little to speak of an answer, or None."""
        needed = self.case.settings.min_samples
        for arm in ("canary", "stable"):
            if arm == "canary" or any(test.kind is Kind.MARGIN for test in self.tests):
                labels = self._labels(arm)
                if labels < needed:
                    return f"{labels} of {needed} matured labels of the {arm}"
        unweighed = [test for test in self.tests if test.kind.value not in self.held.weighed]
        if unweighed:
            absent = absent_from(self.gate, self.tests, self.case.memory)
            if absent:
                return f"no matured label yet of {', '.join(absent[:3])}" + (" and others" if len(absent) > 3 else "")
            if any(isinstance(test, CompositeTest) for test in unweighed):
                return f"nothing weighed yet: fewer than {RIPE} matured labels of some class in an arm or a cluster"
            return f"no block closed yet: fewer than {CLOSES_AT} matured labels somewhere"
        return None

    def _waiting(self) -> str | None:
        """What keeps a gate with enough labels from passing, or None."""
        broken = [b for b in self.case.breaches if self.gate.name in b.passes]
        if broken:
            return f"{broken[0].condition}: {broken[0].reason}"
        if not all(self._passes(test) for test in self.tests):
            return "enough labels, not decided yet"
        memory, held, settings = self.case.memory, self.held, self.case.settings
        if memory.starts > 1:
            if any(test.step_bets(held.tests[test.kind.value]) == 0 for test in self.tests):
                return "no block closed since the weight changed"
            since = self._labels("canary") - held.step_from[0]
            if since < _STEP_NEEDS:
                return f"{since} of {_STEP_NEEDS} matured labels of the canary since the weight changed"
        lasted = 0.0 if memory.at is None or memory.began is None else memory.at - memory.began
        if lasted < settings.min_duration_s:
            return f"{lasted:.0f} of {settings.min_duration_s:.0f} s of evidence"
        return None

    def _passes(self, test: Test) -> bool:
        return test.kind.value in self.held.latched and test.log_e_pass(self.held.tests[test.kind.value]) >= 0

    def _labels(self, arm: str) -> int:
        return labels_in(self.gate, self.case.memory.sums, arm, self.case.memory.shares)

    def _eta(self, log_e_pass: float) -> float | None:
        at, trail = self.case.memory.at, self.held.trail
        if at is None or not trail:
            return None
        since, value = trail[0]
        if at <= since or log_e_pass <= value:
            return None
        missing = log(1 / self.case.settings.alpha) - log_e_pass
        return max(0.0, missing) * (at - since) / (log_e_pass - value)


def _coverage(memory: Memory) -> dict[str, dict[str, float | None]]:
    def share(arm: str, name: str) -> float | None:
        counts = memory.sums.get(name, {}).get(arm)
        return counts.labels / counts.served_rows if counts is not None and counts.served else None

    return {arm: {name: share(arm, name) for name in memory.shares} for arm in ("stable", "canary")}
