"""From gates to tests: which engine weighs which boundary, where it looks, and its share of the fail budget.

A floor (or ceiling) and a margin are two tests. Each looks at the *mix* (clusters weighted by their frozen shares of
the traffic) and, for the fail side only, at every single cluster. Shares of the fail budget add up to 1 over all tests
and scopes of the gates that decide; an advisory gate has a budget of its own, which nobody spends. Knows no counts.
Source: design.md §7, statistics.md §2.5, §4, §5.3.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pilotage.gate.composites import composite_test
from pilotage.gate.engine import MIX, Kind, Scope, Test
from pilotage.gate.exact import ExactTest
from pilotage.gate.families import Family
from pilotage.gate.guards import guard_test
from pilotage.gate.metrics import limit_family, margin_family, pairs_family
from pilotage.gate.pairs import PairedTest
from pilotage.gate.spec import GateSpec

Tests = Mapping[str, Sequence[Test]]
"""The tests of every gate, by the gate's name."""


def tests_of(
    gates: Sequence[GateSpec], classes: Sequence[str], shares: Mapping[str, float]
) -> dict[str, tuple[Test, ...]]:
    """The tests of every gate, the limit first, the fail budget spread evenly; ``shares`` add up to 1."""
    deciding = sum(len(_kinds(gate)) for gate in gates if gate.blocking)
    found = {}
    for gate in gates:
        kinds = _kinds(gate)
        asked = _Asked(gate=gate, classes=tuple(classes), shares=shares)
        scopes = _scopes(shares, 1 / (deciding if gate.blocking else len(kinds)))
        found[gate.name] = tuple(asked.test(kind, scopes) for kind in kinds)
    return found


def _kinds(gate: GateSpec) -> list[Kind]:
    if gate.is_guard:
        return [Kind.SHIFT]
    kinds = [] if gate.limit is None else [Kind.CEILING if gate.is_loss else Kind.FLOOR]
    return kinds if gate.margin is None else [*kinds, Kind.MARGIN]


def _scopes(shares: Mapping[str, float], fail_share: float) -> tuple[Scope, ...]:
    # One cluster is its own mix. Several: half of the budget for the mix, half spread over the clusters.
    mixed = tuple((name, share) for name, share in shares.items() if share > 0)
    if len(shares) == 1:
        return (Scope(name=MIX, weights=mixed, fail_share=fail_share),)
    each = fail_share / 2 / len(shares)
    return (
        Scope(name=MIX, weights=mixed, fail_share=fail_share / 2),
        *(Scope(name=name, weights=((name, 1.0),), fail_share=each) for name in shares),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """One gate in one wave."""

    gate: GateSpec
    classes: tuple[str, ...]
    shares: Mapping[str, float]

    def test(self, kind: Kind, scopes: tuple[Scope, ...]) -> Test:
        gate, classes = self.gate, self.classes
        if kind is Kind.SHIFT:
            return guard_test(gate, classes, scopes)
        if kind is not Kind.MARGIN:
            family = limit_family(gate, classes, mixes=len(scopes[0].weights) > 1)
            return (
                self._exact(kind, scopes, family)
                if family is not None
                else composite_test(gate, kind, classes=classes, scopes=scopes)
            )
        family = margin_family(gate, classes, mixes=len(self.shares) > 1)
        if family is None:
            return composite_test(gate, kind, classes=classes, scopes=scopes)
        apart = self._exact(kind, scopes, family)
        together = pairs_family(gate)
        return apart if together is None else PairedTest(apart=apart, together=self._exact(kind, scopes, together))

    def _exact(self, kind: Kind, scopes: tuple[Scope, ...], family: Family) -> ExactTest:
        place = {name: k for k, name in enumerate(self.shares)}
        return ExactTest(
            kind=kind,
            question=f"{self.gate.name}/{self.gate.title}/{kind}",
            family=family,
            clusters=tuple(self.shares),
            scopes=scopes,
            parts=tuple(family.part([(place[name], weight) for name, weight in scope.weights]) for scope in scopes),
        )
