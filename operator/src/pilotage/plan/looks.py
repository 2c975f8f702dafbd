"""Readings into the gate and verdicts onto the revision's record: one look at the evidence of one wave.

Each look starts at the persisted boundary and either closes a block, which moves the boundaries in the same write, or
leaves no trace: the next reading then starts at the same boundary and is longer. So a crash loses and repeats nothing.
Decides nothing about steps or rollouts; that is `plan.progress` and `plan.decide`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from pilotage.api.times import seconds
from pilotage.api.types import EvidenceBoundary, Json, RolloutRecord, WaveEvidence, WaveRecord
from pilotage.evidence.reading import Block, BlockQuery, Boundary, Reading, Unavailable, Window
from pilotage.gate import Analysis, Outcome, Verdict
from pilotage.plan.counting import arms, needs_of
from pilotage.plan.results import judged, watched
from pilotage.plan.scene import Draft, Scene
from pilotage.plan.traffic import Want, realised_share
from pilotage.plan.waves import is_full
from pilotage.plan.windows import window_from

_CEILING = 1e300


def evidence_of(draft: Draft, rollout: RolloutRecord, wave: str) -> WaveEvidence | None:
    """What has been counted for a wave of this attempt."""
    revision = draft.revisions.get(rollout.revision)
    if revision is None or revision.status.attempt != rollout.attempt:
        return None
    return next((entry for entry in revision.status.evidence if entry.wave == wave), None)


def with_evidence(draft: Draft, rollout: RolloutRecord, entry: WaveEvidence) -> Draft:
    """The draft with a wave's evidence added or replaced, and the revision's verdict with it."""
    status = draft.revisions[rollout.revision].status
    known = {old.wave for old in status.evidence}
    evidence = tuple(entry if old.wave == entry.wave else old for old in status.evidence)
    if entry.wave not in known:
        evidence = (*evidence, entry)
    verdict = Outcome.FAIL.value if any(e.verdict == Outcome.FAIL for e in evidence) else evidence[-1].verdict
    return draft.with_revision(rollout.revision, replace(status, evidence=evidence, verdict=verdict))


def query_for(scene: Scene, draft: Draft, wave: WaveRecord, cluster: str) -> BlockQuery | None:
    """What to ask about a cluster of a wave now; None when nothing can have matured."""
    rollout = draft.active
    entry = evidence_of(draft, rollout, wave.name) if rollout else None
    if rollout is None or entry is None or scene.analysis is None or cluster not in scene.placed:
        return None
    window = window_from(wave, entry.step, scene.spec.label_delay_s)
    if window is None:
        return None
    alone = (draft.is_first or window.step >= len(scene.steps)) and wave.steps[window.step].weight == 100
    since = next((b for b in entry.boundaries if b.cluster == cluster), None) if window.step == entry.step else None
    return BlockQuery(
        cluster=cluster,
        namespace=scene.metadata.namespace,
        model=scene.metadata.name,
        wave=wave.name,
        stable=None if alone else draft.status.stable_revision,
        canary=rollout.revision,
        window=window,
        since=Boundary(at=since.at, checksum=since.checksum) if since else None,
        label_delay_s=scene.spec.label_delay_s,
        asked_at=scene.now,
        needs=needs_of(scene.analysis),
    )


def answer_to(scene: Scene, query: BlockQuery) -> Block | Unavailable | None:
    """The answer that fits what would be asked now; everything else is stale."""
    for reading in scene.observed.readings:
        if isinstance(reading, Block) and _fits(reading, query):
            return reading
        if isinstance(reading, Unavailable) and isinstance(reading.query, BlockQuery) and _same(reading, query):
            return reading
    return None


def _same(reading: Reading, query: BlockQuery) -> bool:
    asked = reading.query
    return isinstance(asked, BlockQuery) and (asked.cluster, asked.wave, asked.canary, asked.window.step) == (
        query.cluster,
        query.wave,
        query.canary,
        query.window.step,
    )


def _fits(reading: Block, query: BlockQuery) -> bool:
    asked = reading.query
    if replace(asked, asked_at=query.asked_at, window=query.window) != query:
        return False
    if asked.window == query.window:
        return True
    # Asked before the window's end was known: good as far as it went, if it went no further.
    known = replace(asked.window, closes=query.window.closes) == query.window and asked.window.closes is None
    return known and query.window.closes is not None and reading.boundary.at <= query.window.closes


def look(scene: Scene, draft: Draft, wave: WaveRecord) -> Draft:
    """Feed the wave's latest readings to its gates; keep the result if it closed a block or changed what is known."""
    rollout = draft.active
    entry = evidence_of(draft, rollout, wave.name) if rollout else None
    if rollout is None or entry is None or scene.analysis is None or (wave.name, entry.step) in draft.looked:
        return draft
    queries = [query for cluster in entry.clusters if (query := query_for(scene, draft, wave, cluster)) is not None]
    answers = [answer_to(scene, query) for query in queries]
    blocks = [answer for answer in answers if isinstance(answer, Block)]
    if not blocks or any(answer is None for answer in answers):
        return draft
    window = queries[0].window
    try:
        news = _news(scene.analysis, blocks, window, scene.spec.label_delay_s) | _expected(scene, draft, wave, blocks)
        state, verdict = _weighed(scene.analysis, entry.state, news)
    except ValueError as error:  # a class that stable's cells do not name; a state of another version
        trouble = f"wave {wave.name}: {error}"
        return replace(draft, looked=draft.looked | {(wave.name, entry.step)}, trouble=trouble)
    complete = len(blocks) == len(queries) and all(block.complete for block in blocks)
    # its pass is history; what is counted since can only fail it
    full = is_full(scene, draft, wave) and not draft.is_first
    if not (complete or _is_news(entry, verdict, full=full)):
        return replace(draft, looked=draft.looked | {(wave.name, entry.step)})
    step, boundaries = window.step, _moved(entry, blocks, window)
    if complete:
        # The gate hears of the new weight at once: a pass must be newer than that.
        step, boundaries = window.step + 1, ()
        end = seconds((window.closes or scene.now) - scene.spec.label_delay_s)
        state, verdict = _weighed(scene.analysis, state, {"at": end, "step": step, "clusters": {}})
    entry = replace(
        entry,
        step=step,
        state=state,
        boundaries=boundaries,
        blocks=_blocks(verdict),
        fail_weight=min(verdict.fail_weight, _CEILING),
        updated_at=scene.now,
    )
    settled = full and verdict.state is not Outcome.FAIL
    edges = {bound: edge for block in blocks for bound, edge in block.edges.items()}
    tell = watched if settled else judged
    return with_evidence(draft, rollout, tell(entry, verdict, scene.analysis.gates, edges))


def _is_news(entry: WaveEvidence, verdict: Verdict, *, full: bool) -> bool:
    """A block was closed, or the verdict says something else."""
    if full:
        return _blocks(verdict) != entry.blocks or (verdict.state is Outcome.FAIL and entry.verdict != Outcome.FAIL)
    said = (str(verdict.state), verdict.step_ready)
    return _blocks(verdict) != entry.blocks or said != (entry.verdict, entry.step_ready)


def _blocks(verdict: Verdict) -> int:
    return sum(gate.blocks for gate in verdict.gates.values())


def _weighed(
    analysis: Analysis, state: Mapping[str, Json], news: Mapping[str, Any]
) -> tuple[Mapping[str, Json], Verdict]:
    """State and verdict after one more block. Remembered: a reading is looked at by every decision until the next."""
    return _weigh(_Remembered(analysis), json.dumps(state), json.dumps(news))


class _Remembered:
    """An analysis as part of a key: two of the same specification are one."""

    __slots__ = ("analysis", "said")

    def __init__(self, analysis: Analysis) -> None:
        self.analysis, self.said = analysis, repr((analysis.gates, analysis.settings))

    def __hash__(self) -> int:
        return hash(self.said)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Remembered) and self.said == other.said


@lru_cache(maxsize=64)
def _weigh(by: _Remembered, state: str, news: str) -> tuple[Mapping[str, Json], Verdict]:
    after = by.analysis.update(json.loads(state), json.loads(news))
    return after.to_dict(), by.analysis.verdict(after)


def _moved(entry: WaveEvidence, blocks: list[Block], window: Window) -> tuple[EvidenceBoundary, ...]:
    kept = {boundary.cluster: boundary for boundary in entry.boundaries} if window.step == entry.step else {}
    for block in blocks:
        cluster = block.query.cluster
        kept[cluster] = EvidenceBoundary(
            cluster=cluster, at=seconds(block.boundary.at), checksum=block.boundary.checksum
        )
    return tuple(kept[cluster] for cluster in sorted(kept))


def _expected(scene: Scene, draft: Draft, wave: WaveRecord, blocks: list[Block]) -> dict[str, Any]:
    """The share that the canary should have served in every cluster, while a step divides the requests."""
    step = blocks[0].query.window.step
    if step >= len(wave.steps) or draft.is_first:
        return {}
    want = Want(base="stable", canary="canary", weight=wave.steps[step].weight, is_full=step >= len(scene.steps))
    share = realised_share(scene.spec.traffic.mode, scene.spec.placement.replicas_per_cluster, want)
    return {"expected": {block.query.cluster: share for block in blocks if block.query.stable is not None}}


def _news(analysis: Analysis, blocks: list[Block], window: Window, label_delay_s: float) -> dict[str, Any]:
    """One block of all clusters; its time is when its last prediction was made."""
    return {
        "at": seconds(max(block.boundary.at for block in blocks) - label_delay_s),
        "step": window.step,
        "clusters": {block.query.cluster: arms(analysis, block) for block in blocks},
    }
