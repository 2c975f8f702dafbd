"""From gates to tests: which strata each test compares, with which coefficients, and its share of the fail budget.

A floor and a margin are two tests. Each test looks at the *mix* (clusters weighted by their frozen shares of the
traffic) and, for the fail side only, at every single cluster. Shares of the fail budget add up to 1 over all tests
and scopes of a wave. Knows no counts. Source: design.md §7, statistics.md §2.5, §5.3.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pilotage.gate.counts import rows
from pilotage.gate.spec import GateSpec

MIX: Final = ""  # no cluster is called that


class Kind(StrEnum):
    """What the canary is held against."""

    FLOOR = "floor"
    MARGIN = "margin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """One linear contrast. Indices point into the gate's vector, ``teachers`` into ``strata``, ``seeds`` into history.

    ``teachers`` are the strata whose past sets the base rates: stable's for a margin, the canary's own for a floor.
    """

    name: str
    fail_share: float
    strata: tuple[int, ...]
    coefficients: tuple[float, ...]
    teachers: tuple[int, ...]
    seeds: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hypothesis:
    """One boundary: canary's metric against ``bound`` (floor), or its difference to stable against ``bound`` = −margin.

    ``rows`` is the number of proportions per arm and cluster; the mix is always the first scope.
    """

    kind: Kind
    bound: float
    rows: int
    scopes: tuple[Scope, ...]


def hypotheses_of(
    gates: Sequence[GateSpec], classes: Sequence[str], shares: Mapping[str, float]
) -> dict[str, tuple[Hypothesis, ...]]:
    """The tests of every gate, floor first, the fail budget spread evenly over all; ``shares`` add up to 1."""
    asked = sum((gate.floor is not None) + (gate.margin is not None) for gate in gates)
    found = {}
    for gate in gates:
        size = len(rows(gate, classes))
        tests = []
        if gate.floor is not None:
            tests.append(_hypothesis(Kind.FLOOR, gate.floor, size, shares, 1 / asked))
        if gate.margin is not None:
            tests.append(_hypothesis(Kind.MARGIN, -gate.margin, size, shares, 1 / asked))
        found[gate.name] = tuple(tests)
    return found


def _hypothesis(kind: Kind, bound: float, size: int, shares: Mapping[str, float], fail_share: float) -> Hypothesis:
    clusters = tuple(shares)
    # One cluster is its own mix. Several: half of the budget for the mix, half spread over the clusters.
    mix_share = fail_share if len(clusters) == 1 else fail_share / 2
    mixed = [(k, shares[name]) for k, name in enumerate(clusters) if shares[name] > 0]
    scopes = [_scope(MIX, mix_share, kind, size, mixed)]
    if len(clusters) > 1:
        each = fail_share / 2 / len(clusters)
        scopes += [_scope(name, each, kind, size, [(k, 1.0)]) for k, name in enumerate(clusters)]
    return Hypothesis(kind=kind, bound=bound, rows=size, scopes=tuple(scopes))


def _scope(name: str, fail_share: float, kind: Kind, size: int, weights: Sequence[tuple[int, float]]) -> Scope:
    strata = list(_strata(kind, size, weights))
    taught_by_stable = kind is Kind.MARGIN
    return Scope(
        name=name,
        fail_share=fail_share,
        strata=tuple(index for index, _ in strata),
        coefficients=tuple(coefficient for _, coefficient in strata),
        teachers=tuple(p for p, (_, a) in enumerate(strata) if (a < 0) == taught_by_stable),
        seeds=tuple(k * size + row for k, _ in weights for row in range(size)),
    )


def _strata(kind: Kind, size: int, weights: Sequence[tuple[int, float]]) -> Iterator[tuple[int, float]]:
    for k, weight in weights:
        first = 2 * size * k
        yield from ((first + row, weight / size) for row in range(size))
        if kind is Kind.MARGIN:
            yield from ((first + size + row, -weight / size) for row in range(size))
