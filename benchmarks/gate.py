"""Is the gate as right and as quick as it claims? Simulated rollouts against the bars of the specification.

    python -m benchmarks.gate --quick                 # a few minutes on two cores
    python -m benchmarks.gate                         # everything; hours. Ctrl-C and start again: it goes on
    python -m benchmarks.gate --only errors --looks 4320 --scenario sticky --runs 300

Three parts. `errors`: wrong Pass and wrong Fail of every scenario of `pilotage gate simulate`, at 24, 360 and 4,320
looks, beside point thresholds; bar: 5 % and three standard errors. `labels`: one gate, one cluster, minSamples 0; bar:
1.25 times the labels of the specification's tables. `shapes`: clusters, floors and averages against Wald's limit at
their own thresholds; bar: 1.25 times the specification's ratio to the limit. Both with three standard errors of what
was measured here. Exits 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from benchmarks.gate_cases import ERRORS, LABELS, SHAPES, ErrorCase, campaign_of
from benchmarks.gate_labels import Measured, measured
from benchmarks.gate_store import Store
from pilotage.cli import gate_pool
from pilotage.cli.gate_words import clock, columns, percent
from pilotage.trials import Rate, Row

LOOKS = (24, 360, 4320)
RUNS = {24: 1000, 360: 600, 4320: 150}
QUICK_RUNS = {24: 60, 360: 40, 4320: 8}
LABEL_RUNS, QUICK_LABEL_RUNS = 400, 60
ALPHA = BETA = 0.05
HEADER = (
    *("GATE", "LOOKS", "SCENARIO", "FALSE PASS %", "FALSE FAIL %", "EXPIRED %", "LABELS", "TIME"),
    *("ARGO P!", "ARGO F!", "FLAGGER P!", "FLAGGER F!", ""),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The command line."""

    parts: Sequence[str]
    looks: Sequence[int]
    scenarios: Sequence[str]
    gates: Sequence[str]
    runs: int | None
    quick: bool
    jobs: int
    seed: int


def errors(wanted: Wanted, store: Store) -> bool:
    """Print every scenario's error rates; whether all bars hold."""
    kept, lines = True, list[Sequence[str]]([HEADER])
    for case in _cases(wanted):
        row = store.row(case.key, lambda case=case: _played(case, wanted.jobs))  # type: ignore[misc]
        holds = not row.scenario.is_ours or row.keeps(ALPHA, BETA)
        kept &= holds
        lines.append(_error_line(case, row, holds))
        print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    print(columns(lines, left=3))
    return kept


def labels(wanted: Wanted, store: Store) -> bool:
    """Print mean or median labels to a decision beside the specification's; whether all bars hold."""
    return _compared(wanted, store, LABELS, "SPECIFICATION")


def shapes(wanted: Wanted, store: Store) -> bool:
    """The same for other shapes, beside Wald's limit times the specification's ratio."""
    return _compared(wanted, store, SHAPES, "LIMIT × RATIO")


def _compared(wanted: Wanted, store: Store, cases: Sequence[Measured], against: str) -> bool:
    runs = wanted.runs or (QUICK_LABEL_RUNS if wanted.quick else LABEL_RUNS)
    kept, lines = True, [("CASE", "DECIDED %", "LABELS", against, "RATIO", "BAR", "")]
    for case in cases:
        if wanted.gates and not any(name in case.name for name in wanted.gates):
            continue
        found = store.labels(f"{case.name}/{wanted.seed}/{runs}", lambda case=case: measured(case, runs, wanted))  # type: ignore[misc]
        ratio = found.labels / found.expected
        holds = ratio <= case.bar + 3 * found.standard_error / found.expected and found.decided >= 0.5
        kept &= holds
        lines.append(
            (
                case.name,
                f"{100 * found.decided:.0f}",
                f"{found.labels:.0f} ±{found.standard_error:.0f}",
                f"{found.expected:.0f}",
                f"{ratio:.2f}",
                f"{case.bar:.2f}",
                "" if holds else "MISSED",
            )
        )
        print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    print(columns(lines))
    return kept


def _cases(wanted: Wanted) -> Iterator[ErrorCase]:
    runs = QUICK_RUNS if wanted.quick else RUNS
    for looks in wanted.looks:
        for gate in ERRORS:
            if (wanted.gates and gate.name not in wanted.gates) or (not wanted.gates and looks not in gate.looks):
                continue
            number = wanted.runs or runs.get(looks, runs[360])
            campaign = campaign_of(gate, looks=looks, runs=number, seed=wanted.seed)
            for scenario in campaign.scenarios:
                if not wanted.scenarios or scenario.name in wanted.scenarios:
                    yield ErrorCase(gate=gate.name, looks=looks, campaign=campaign, scenario=scenario)


def _played(case: ErrorCase, jobs: int) -> Row:
    ((row,),) = gate_pool.run([case.alone], jobs)
    return row


def _error_line(case: ErrorCase, row: Row, holds: bool) -> tuple[str, ...]:
    ours = row.ours
    wrong: list[Rate | None] = []
    for peer in ("Argo-style", "Flagger-style"):
        wrong += [row.false_pass(row.peers[peer]), row.false_fail(row.peers[peer])]
    return (
        case.gate,
        str(case.looks),
        row.scenario.name,
        percent(row.false_pass(ours)),
        percent(row.false_fail(ours)),
        percent(ours.expired),
        "–" if ours.labels is None else f"{ours.labels:.0f}",
        clock(ours.seconds),
        *("–" if rate is None else f"{100 * rate.share:.0f}" for rate in wrong),
        "" if holds else "MISSED",
    )


PARTS: dict[str, Callable[[Wanted, Store], bool]] = {"errors": errors, "labels": labels, "shapes": shapes}


def main() -> int:
    """Measure and print; 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few rollouts: finds what is badly wrong")
    parser.add_argument("--only", choices=list(PARTS), action="append", help="one part; repeatable")
    parser.add_argument("--looks", type=int, action="append", help="of errors; repeatable (default: 24, 360, 4320)")
    parser.add_argument("--scenario", action="append", help="of errors; repeatable")
    parser.add_argument(
        "--gate", action="append", help="of errors by name, of the others by part of the name; repeatable"
    )
    parser.add_argument("--runs", type=int, help="rollouts of each case")
    parser.add_argument("--jobs", type=int, default=0, help="processes; 0: one per core")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--state", default="build/benchmarks/gate.jsonl", help="what is done already; kept per version")
    given = parser.parse_args()
    wanted = Wanted(
        parts=given.only or list(PARTS),
        looks=given.looks or LOOKS,
        scenarios=given.scenario or (),
        gates=given.gate or (),
        runs=given.runs,
        quick=given.quick,
        jobs=given.jobs,
        seed=given.seed,
    )
    store = Store(given.state)
    kept = [PARTS[name](wanted, store) for name in wanted.parts]
    print("every bar holds" if all(kept) else "a bar is MISSED")
    return int(not all(kept))


if __name__ == "__main__":
    sys.exit(main())
