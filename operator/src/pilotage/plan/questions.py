"""Which queries are due, and when the next ones will be.

A question is asked every `analysis.interval`, counted from when it was last asked, answered or not; nothing is asked
twice at a time. After a restart nothing is known of earlier questions, so what is needed is asked at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pilotage.api.types import RolloutRecord
from pilotage.evidence.reading import BaselineQuery, BlockQuery, Query
from pilotage.plan.bake import as_watched
from pilotage.plan.baselines import baselines
from pilotage.plan.counting import needs_of_history
from pilotage.plan.looks import query_for
from pilotage.plan.progress import baseline_for, is_watched
from pilotage.plan.scene import Draft, Scene
from pilotage.plan.waves import is_full

_LOST_AFTER = 5
"""A question without an answer for so many intervals is asked again."""
_LEAST_INTERVAL_S = 1.0


def questions(scene: Scene, draft: Draft) -> tuple[tuple[Query, ...], float | None]:
    """Queries that are due, and the time at which more will be."""
    rollout = draft.active
    if rollout is None or scene.analysis is None or not is_watched(scene, draft, rollout):
        return (), None
    scene = as_watched(scene, draft)
    wanted = [*_baseline_queries(scene, draft, rollout), *_block_queries(scene, draft, rollout)]
    due = [query for query, at in wanted if at <= scene.now]
    later = [at for _, at in wanted if at > scene.now]
    if due:
        later.append(scene.now + _interval(scene))
    return tuple(due), min(later, default=None)


def _interval(scene: Scene) -> float:
    return max(scene.spec.analysis.interval_s, _LEAST_INTERVAL_S)


def _baseline_queries(scene: Scene, draft: Draft, rollout: RolloutRecord) -> Iterator[tuple[Query, float]]:
    upcoming = baseline_for(scene, draft)
    if upcoming is None or scene.analysis is None:
        return
    clusters = upcoming[1]
    found = baselines(scene, rollout, clusters)
    whole = set(found) == set(clusters)
    for cluster in clusters:
        if cluster in found and not whole:
            continue
        query = BaselineQuery(
            cluster=cluster,
            namespace=scene.metadata.namespace,
            model=scene.metadata.name,
            stable=draft.status.stable_revision or rollout.revision,
            asked_at=scene.now,
            needs=needs_of_history(scene.analysis),
        )
        yield query, _next_time(scene, query, rollout.started_at)


def _block_queries(scene: Scene, draft: Draft, rollout: RolloutRecord) -> Iterator[tuple[Query, float]]:
    for wave in rollout.waves:
        if wave.ungated:
            continue
        for cluster in wave.clusters:
            query = query_for(scene, draft, wave, cluster)
            if query is None:
                continue
            alone = query.stable is None and is_full(scene, draft, wave)
            if alone and not scene.has_floors:
                continue  # nothing to compare with and no fixed value: no count could fail it
            yield query, _next_time(scene, query, query.window.opens + _interval(scene))


def _next_time(scene: Scene, query: Query, first: float) -> float:
    """When this question is due: an interval after it was last asked, or `first` if it never was."""
    asked = [old for old in scene.observed.asked if _same_subject(old, query)]
    if any(replace(old, asked_at=query.asked_at) == query for old in asked):
        return max(old.asked_at for old in asked) + _LOST_AFTER * _interval(scene)
    answered = [
        reading.query
        for reading in scene.observed.readings
        if _same_subject(reading.query, query) and _is_current(scene, reading.query)
    ]
    times = [old.asked_at for old in (*asked, *answered)]
    if not times:
        return first
    opens = query.window.opens if isinstance(query, BlockQuery) else 0.0
    return max(max(times) + _interval(scene), opens)


def _is_current(scene: Scene, query: Query) -> bool:
    """Asked in this rollout; an answer of an earlier one paces nothing."""
    rollout = scene.observed.deployment.status.rollout
    return rollout is None or query.asked_at >= rollout.started_at


def _same_subject(one: Query, other: Query) -> bool:
    match one, other:
        case BaselineQuery(), BaselineQuery():
            return one.cluster == other.cluster
        case BlockQuery(), BlockQuery():
            return (one.cluster, one.wave) == (other.cluster, other.wave)
        case _:
            return False
