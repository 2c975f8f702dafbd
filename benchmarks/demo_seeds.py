"""The demo's decisions for many seeds, drawn without clouds: v2 must be promoted in all of them, v3 in none.

Draws the labels that the demo's traffic would give (``demo/plan.py``) and drives ``pilotage.gate`` through waves and
steps as the operator does: a look every interval, nothing counted within the guard time around a weight change.
``--measure`` trains the three classifiers first and compares their confusion rows with the plan's.

Usage: python benchmarks/demo_seeds.py [--seeds 20] [--measure]
"""

import argparse
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from demo import budget, plan
from pilotage.gate import Analysis, State, Verdict

_GIVE_UP_S = 120.0
_HISTORY_S = 10.0
_CONFIGS = Path(__file__).resolve().parent.parent / "examples" / "train"
_AFTER_THE_STEPS = len(plan.WEIGHTS)
_CELLS = {
    version: [
        (actual, predicted, share)
        for actual, row in plan.expected_confusion(version).items()
        for predicted, share in row.items()
    ]
    for version in plan.HELD_BACK
}


@dataclass(slots=True, kw_only=True)
class Wave:
    """One wave under way: its clusters, what the gate remembers, and the canary's weight there."""

    clusters: tuple[str, ...]
    state: State
    step: int = 0
    weight: int = 0


@dataclass(slots=True, kw_only=True)
class Rollout:
    """One version on its way through the waves, in virtual seconds; ends as ``outcome`` says."""

    canary: str
    stable: str
    seed: int
    outcome: str = "Expired"
    reason: str = ""
    now: float = 0.0
    step_data_s: list[float] = field(default_factory=list)

    def run(self) -> "Rollout":
        """Wave after wave, step after step, until a Fail or the end."""
        random = Random(f"{self.canary} {self.seed}")
        analysis = Analysis.from_spec({"gates": list(plan.GATES), "analysis": dict(plan.ANALYSIS)})
        waves: list[Wave] = []
        for clusters in plan.WAVES.values():
            waves.append(self._opened(analysis, random, clusters, number=len(waves) + 1))
            for step, weight in enumerate(plan.WEIGHTS):
                waves[-1].step, waves[-1].weight = step, weight
                self.now += plan.GUARD_S + plan.LABEL_DELAY_S
                if not self._stepped(analysis, random, waves, last=weight == plan.WEIGHTS[-1]):
                    return self
            waves[-1].step, waves[-1].weight = _AFTER_THE_STEPS, 100
        self.outcome = "Promoted"
        return self

    def _opened(self, analysis: Analysis, random: Random, clusters: tuple[str, ...], *, number: int) -> Wave:
        state = analysis.start(
            plan.CLASSES,
            {name: plan.REQUESTS_PER_S[name] for name in clusters},
            history={name: [labels(random, self.stable, name, 100, _HISTORY_S)] for name in clusters},
            wave=number,
            waves=len(plan.WAVES),
        )
        return Wave(clusters=clusters, state=state)

    def _stepped(self, analysis: Analysis, random: Random, waves: Iterable[Wave], *, last: bool) -> bool:
        """Look again and again until the newest wave's step may end; False if the rollout has ended instead."""
        started = self.now
        while self.now - started < _GIVE_UP_S:
            self.now += plan.INTERVAL_S
            verdicts: list[Verdict] = []
            for wave in waves:
                block = {"at": self.now, "step": wave.step, "clusters": self._arms(random, wave)}
                wave.state = analysis.update(wave.state, block)
                verdicts.append(analysis.verdict(wave.state))
            newest = verdicts[-1]
            self.reason = newest.reason
            failed = sum(verdict.fail_weight for verdict in verdicts) >= 1 / newest.beta
            done = newest.state == "Pass" or (newest.step_ready and not last)
            if failed or any(verdict.state == "Fail" for verdict in verdicts):
                self.outcome = "RolledBack"
            if failed or done or self.outcome == "RolledBack":
                self.step_data_s.append(self.now - started)
                return self.outcome != "RolledBack"
        return False

    def _arms(self, random: Random, wave: Wave) -> dict[str, Any]:
        return {
            name: {
                "canary": labels(random, self.canary, name, wave.weight, plan.INTERVAL_S),
                "stable": labels(random, self.stable, name, 100 - wave.weight, plan.INTERVAL_S),
            }
            for name in wave.clusters
        }


def labels(random: Random, version: str, cluster: str, weight: int, seconds: float) -> dict[str, Any]:
    """Draw the matured labels of one arm: every request is routed, classified and labelled by chance."""
    requests = round(plan.REQUESTS_PER_S[cluster] * seconds)
    taken = sum(random.random() < weight / 100 * plan.LABEL_SHARE for _ in range(requests))
    cells = _CELLS[version]
    confusion: dict[str, dict[str, int]] = {}
    for actual, predicted, _ in random.choices(cells, [share for _, _, share in cells], k=taken):
        row = confusion.setdefault(actual, {})
        row[predicted] = row.get(predicted, 0) + 1
    return {"confusion": confusion}


def measured_rows_differ() -> bool:
    """Train the demo's classifiers as the plan says and compare their confusion rows with the plan's."""
    import numpy as np  # the trainer's stack: needed here only

    from pilotage_server.train.config import read_config
    from pilotage_server.train.data import load
    from pilotage_server.train.data.split import split
    from pilotage_server.train.search.select import select

    different = False
    for version in ("v1", "v2", "v3"):
        config = read_config(_CONFIGS / f"digits-{version}.yaml")
        table = load(config.data.source)
        parts = split(table, config.split, config.data)
        predicted = select(config, table, parts).fitted.predict(parts.holdback.rows)
        rows = np.zeros((10, 10), dtype=int)
        np.add.at(rows, (parts.holdback.labels, predicted), 1)
        same = tuple(map(tuple, rows.tolist())) == plan.HELD_BACK[version]
        print(f"{version}: confusion rows {'as planned' if same else f'differ: {rows.tolist()}'}")
        different |= not same
    return different


def main() -> int:
    """Print one line per seed; exit 1 if a decision is not the expected one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--measure", action="store_true", help="train the classifiers and compare their confusion rows")
    arguments = parser.parse_args()
    wrong = arguments.measure and measured_rows_differ()
    print(*budget.lines(), sep="\n")
    good, bad = [], []
    for seed in range(arguments.seeds):
        good.append(Rollout(canary="v2", stable="v1", seed=seed).run())
        bad.append(Rollout(canary="v3", stable="v2", seed=seed).run())
        print(f"seed {seed:3d}: v2 {_told(good[-1])}; v3 {_told(bad[-1])}, {bad[-1].reason}")
    promoted = sum(run.outcome == "Promoted" for run in good)
    rolled_back = sum(run.outcome == "RolledBack" for run in bad)
    print(f"v2 promoted in {promoted} of {len(good)}; v3 promoted in {len(bad) - rolled_back} of {len(bad)}")
    print(f"seconds of data per step of v2: {_spread([s for run in good for s in run.step_data_s])}")
    print(f"seconds of data until v3 failed: {_spread([sum(run.step_data_s) for run in bad])}")
    return int(wrong or promoted < len(good) or rolled_back < len(bad))


def _told(run: Rollout) -> str:
    return f"{run.outcome} after {'+'.join(f'{s:.0f}' for s in run.step_data_s)} s"


def _spread(values: list[float]) -> str:
    return f"median {median(values):.0f}, most {max(values):.0f}"


if __name__ == "__main__":
    sys.exit(main())
