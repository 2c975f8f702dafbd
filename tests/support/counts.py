"""Checks every block that the operator writes against what really matured: each label once, none left out.

Hangs on a world's call log: whenever a ModelRevision's status has been written, the growth of each wave's label counts
must equal the growth of the simulated collectors' counters between the block's ends.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pilotage.api.decode import model_deployment, model_revision
from pilotage.api.types import RolloutRecord, WaveEvidence, WaveRecord
from pilotage.hub.kinds import MODEL_DEPLOYMENTS, MODEL_REVISIONS
from pilotage.kube import Key
from pilotage.plan.windows import window_of
from support.apisim import Moment, SimCall
from support.simtraffic import Scrape, Traffic
from support.simworld import KEY, SimWorld


@dataclass(slots=True)
class CountsOracle:
    """`actual`: the class whose labels the (only) gate counts. `blocks`: how many have been verified; `wrong`: what
    did not agree (raised here it would be one more error that the operator survives).
    """

    world: SimWorld
    actual: str
    blocks: int = 0
    wrong: list[str] = field(default_factory=list)
    _known: dict[tuple[str, int, str], WaveEvidence] = field(default_factory=dict)

    def __call__(self, call: SimCall, moment: Moment) -> None:
        """Look at the revision that was just written."""
        if moment is Moment.AFTER_EFFECT and call.resource == "modelrevisions" and call.subresource == "status":
            self._look(call.key)

    def _look(self, key: Key) -> None:
        state = self.world.hub.state
        raw, owner = state.find(MODEL_REVISIONS, key), state.find(MODEL_DEPLOYMENTS, KEY)
        revision = model_revision(raw) if raw else None
        rollout = model_deployment(owner).status.rollout if owner else None
        if revision is None or rollout is None or rollout.revision != key.name:
            return
        for entry in revision.status.evidence:
            identity = (key.name, revision.status.attempt, entry.wave)
            before = self._known.get(identity)
            self._known[identity] = entry
            if before is not None and entry.blocks != before.blocks:
                self._verify(rollout, before, entry)

    def _verify(self, rollout: RolloutRecord, before: WaveEvidence, after: WaveEvidence) -> None:
        wave = next(wave for wave in rollout.waves if wave.name == after.wave)
        if wave.steps[before.step].weight == 100 or before.verdict == "Pass":
            return  # no stable beside it, or every gate is latched: what is shown is what was decided on
        grown = sum(gate.labels_canary for gate in after.gates) - sum(gate.labels_canary for gate in before.gates)
        matured = sum(self._matured(rollout.revision, wave, name, before, after) for name in after.clusters)
        if grown != matured:
            self.wrong.append(f"{rollout.name} {after.wave}: a block counted {grown} labels, {matured} matured in it")
        self.blocks += 1

    def _matured(self, revision: str, wave: WaveRecord, cluster: str, before: WaveEvidence, after: WaveEvidence) -> int:
        traffic = self.world.traffic[cluster]
        window = window_of(wave, before.step, traffic.scrapes[-1].delay_s)
        assert window is not None, f"a block without a window: {before}"
        began = next((b.at for b in before.boundaries if b.cluster == cluster), None)
        ended = next((b.at for b in after.boundaries if b.cluster == cluster), None)
        if before.step != after.step:
            ended = None  # the window has closed with this block
        first = next(s for s in traffic.scrapes if (s.at >= began - 1e-6 if began else s.at > window.opens + 1e-6))
        last = _last_until(traffic, ended or window.closes or float("inf"))
        return self._count(last, revision) - self._count(first, revision)

    def _count(self, scrape: Scrape, revision: str) -> int:
        return sum(n for cell, n in scrape.cells.items() if (cell.revision, cell.actual) == (revision, self.actual))


def _last_until(traffic: Traffic, at: float) -> Scrape:
    return next(scrape for scrape in reversed(traffic.scrapes) if scrape.at <= at + 1e-6)
