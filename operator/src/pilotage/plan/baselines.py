"""The evidence of a wave before its first block: what its clusters served lately becomes classes, shares and history.

The shares W_k are frozen here, in the gate's own state; a retry's pass side continues here. Knows no step and no
verdict. Source: design.md §5 (retry), §7 (strata).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pilotage.api.reasons import Reason
from pilotage.api.types import Json, RolloutRecord, WaveEvidence
from pilotage.evidence.reading import Baseline
from pilotage.gate import Analysis, GateSpecError
from pilotage.plan.counting import history_of
from pilotage.plan.scene import Draft, Obstacle, Scene


def baselines(scene: Scene, rollout: RolloutRecord, clusters: Iterable[str]) -> dict[str, Baseline]:
    """The answers about these clusters that were asked for by this rollout."""
    asked = set(clusters)
    return {
        reading.query.cluster: reading
        for reading in scene.observed.readings
        if isinstance(reading, Baseline)
        and reading.query.cluster in asked
        and reading.query.asked_at >= rollout.started_at
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Recent:
    """What a wave's clusters served lately, as the gate takes it; labels were counted over so many `seconds`."""

    classes: tuple[str, ...]
    shares: Mapping[str, float]
    history: Mapping[str, Sequence[Mapping[str, Any]]]
    seconds: float


def recent_traffic(scene: Scene, rollout: RolloutRecord, clusters: tuple[str, ...]) -> Recent | None:
    """The answers of all these clusters together; None while one is missing."""
    found = baselines(scene, rollout, clusters)
    if scene.analysis is None or set(found) != set(clusters):
        return None
    return Recent(
        classes=tuple(sorted({name for baseline in found.values() for name in _classes(baseline)})),
        shares={name: float(max(found[name].rows, 1)) for name in clusters},
        history={name: history_of(scene.analysis, found[name]) for name in clusters},
        seconds=max(baseline.query.history_window_s for baseline in found.values()),
    )


def begin(
    scene: Scene, draft: Draft, rollout: RolloutRecord, wave: str, clusters: tuple[str, ...], step: int
) -> WaveEvidence | Obstacle | None:
    """The evidence of a wave before its first block; None while a baseline is missing."""
    recent = recent_traffic(scene, rollout, clusters)
    if scene.analysis is None or recent is None:
        return None
    if len(recent.classes) < 2:
        names = ", ".join(clusters)
        return Obstacle(
            reason=Reason.COUNTERS_MISSING,
            message=f"{names}: the collector's counters name no classes yet; check that its pod and stable's are ready",
        )
    number = 1 + next((index for index, known in enumerate(rollout.waves) if known.name == wave), len(rollout.waves))
    try:
        state = _start(
            scene.analysis,
            classes=recent.classes,
            shares=recent.shares,
            history=recent.history,
            # A wave of late joiners beyond those planned spends beta/planned on top (placement.py).
            wave=min(number, rollout.planned_waves),
            waves=rollout.planned_waves,
            resume=_carried(draft, rollout, wave),
        )
    except GateSpecError as error:
        return Obstacle(reason=Reason.UNKNOWN_CLASS, message="; ".join(str(problem) for problem in error.problems))
    return WaveEvidence(wave=wave, step=step, state=state, clusters=clusters, updated_at=scene.now)


def _classes(baseline: Baseline) -> set[str]:
    confusion = baseline.history.confusion
    return {*baseline.classes, *confusion, *(name for row in confusion.values() for name in row)}


def _carried(draft: Draft, rollout: RolloutRecord, wave: str) -> Mapping[str, Json] | None:
    carried = draft.revisions[rollout.revision].status.carried
    if not carried or carried.get("stable") != draft.status.stable_revision:
        return None
    state: Mapping[str, Json] | None = carried.get("waves", {}).get(wave)
    return state


def _start(analysis: Analysis, *, resume: Mapping[str, Json] | None, **arguments: Any) -> dict[str, Json]:
    if resume is not None:
        try:
            analysis.verdict(resume)  # refuses a state of other gates, alpha, beta or minSamples
            return analysis.start(**arguments, resume=resume).to_dict()
        except ValueError as error:
            if isinstance(error, GateSpecError):
                raise
    return analysis.start(**arguments).to_dict()
