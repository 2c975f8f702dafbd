"""Which clusters serve the model, and in which wave each takes a revision.

First match wins; clusters that no wave names form a last one. Membership is frozen when a wave starts: those who come
later belong to a wave that has not started, or to one more at the end; those who leave are simply no longer counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pilotage.api.types import Json, LabelSelector, MemberCluster, Wave
from pilotage.plan.observed import ClusterView

LAST_WAVE = "rest"


def placed_clusters(selector: LabelSelector, clusters: Mapping[str, ClusterView]) -> tuple[str, ...]:
    """Names of the MemberClusters the selector matches, in order; one that is being deleted is out already."""
    return tuple(
        sorted(
            name
            for name, view in clusters.items()
            if view.member is not None and _is_staying(view.member) and matches(selector, view.member.metadata.labels)
        )
    )


def _is_staying(member: MemberCluster) -> bool:
    return member.metadata.deletion_timestamp is None


def matches(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    """Kubernetes' rules: all of matchLabels and all of matchExpressions; an empty selector matches everything."""
    return all(labels.get(key) == value for key, value in selector.match_labels.items()) and all(
        _holds(expression, labels) for expression in selector.match_expressions
    )


def _holds(expression: Mapping[str, Json], labels: Mapping[str, str]) -> bool:
    key, values = expression.get("key", ""), expression.get("values") or ()
    match expression.get("operator"):
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
        case _:
            return False


def waves_to_come(
    waves: Sequence[Wave], started: Mapping[str, Iterable[str]], placed: Sequence[str]
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The waves that have not started, with their clusters as of now; waves without clusters are left out.

    `started` maps the names of waves that have to their frozen clusters.
    """
    taken = {cluster for clusters in started.values() for cluster in clusters}
    free = [cluster for cluster in placed if cluster not in taken]
    open_waves = [wave for wave in waves if wave.name not in started]
    named = {cluster for wave in open_waves for cluster in wave.clusters or ()}
    found: list[tuple[str, tuple[str, ...]]] = []
    for wave in open_waves:
        if wave.clusters is None:
            members = tuple(cluster for cluster in free if cluster not in named)
        else:
            members = tuple(cluster for cluster in wave.clusters if cluster in free)
        free = [cluster for cluster in free if cluster not in members]
        if members:
            found.append((wave.name, members))
    if free:
        found.append((_unused_name({wave.name for wave in waves} | set(started)), tuple(free)))
    return tuple(found)


def _unused_name(used: set[str]) -> str:
    if LAST_WAVE not in used:
        return LAST_WAVE
    return next(name for n in range(2, len(used) + 3) if (name := f"{LAST_WAVE}-{n}") not in used)
