"""From the written status to everything each member should have: intents, and nothing but intents.

Derived from draft and sight alone, so it may be computed again at any moment. A cluster that cannot be seen, or where a
name is taken, gets no intent: nothing is assumed there and nothing deleted.
"""

from __future__ import annotations

from collections.abc import Mapping

from pilotage.api.reasons import Reason
from pilotage.api.types import ModelRevision, TrafficMode
from pilotage.plan import manifests
from pilotage.plan.counting import exports_of
from pilotage.plan.decision import Intent
from pilotage.plan.feedback import peer_files
from pilotage.plan.observed import Manifest
from pilotage.plan.scene import Draft, Scene
from pilotage.plan.traffic import Layout, Want
from pilotage.plan.views import Sight
from pilotage.plan.waves import layout, wants

_DELETION_ORDER = ("HTTPRoute", "Service", "Deployment", "StatefulSet", "ConfigMap")


def intents(scene: Scene, draft: Draft) -> Mapping[str, Intent]:
    """What each member in sight should have; members without an entry are left alone."""
    found = {}
    for cluster, want in wants(scene, draft).items():
        if cluster in scene.sights and _may_write(scene, cluster):
            intent = _intent(scene, draft, cluster, want)
            if intent is not None:
                found[cluster] = intent
    for entry in draft.status.pending_cleanup:
        if entry.cluster in scene.sights:
            found[entry.cluster] = Intent(delete=in_deletion_order(scene.sights[entry.cluster]))
    return found


def in_deletion_order(sight: Sight) -> tuple[tuple[str, str], ...]:
    """Everything of ours in a member: traffic first, then what serves it, then what it stood on."""
    known = [entry for entry in sight.objects if entry[0] in _DELETION_ORDER]
    return tuple(sorted(known, key=lambda entry: (_DELETION_ORDER.index(entry[0]), entry[1])))


def _may_write(scene: Scene, cluster: str) -> bool:
    obstacle = scene.obstacles.get(cluster)
    if obstacle is None:
        return True
    # Where we already serve, a taken name stops that one object and not the way back.
    taken = obstacle.reason in (Reason.NAME_TAKEN, Reason.UNCLAIMED)
    return taken and bool(scene.sights[cluster].objects)


def _intent(scene: Scene, draft: Draft, cluster: str, want: Want) -> Intent | None:
    sight = scene.sights[cluster]
    look = layout(scene, sight, want)
    arms = {name: draft.revisions[name] for name in look.sizes if name in draft.revisions}
    if want.base not in arms or (want.canary is not None and want.canary not in arms):
        return None  # the record of what to serve is gone; what serves goes on
    wanted = tuple(_objects(scene, cluster, want, look, arms))
    outdated = _outdated(scene, cluster, wanted)
    taken = {(obj.get("kind"), obj["metadata"]["name"]) for obj in scene.observed.clusters[cluster].taken}
    named = {(obj["kind"], obj["metadata"]["name"]) for obj in wanted}
    return Intent(
        apply=tuple(obj for obj in wanted if (obj["kind"], obj["metadata"]["name"]) not in taken | outdated),
        delete=tuple(
            entry
            for entry in in_deletion_order(sight)
            if entry in outdated or (entry not in named and _may_go(entry, look))
        ),
    )


def _outdated(scene: Scene, cluster: str, wanted: tuple[Manifest, ...]) -> set[tuple[str, str]]:
    """Collectors whose volumes are other than wanted: deleted first, made anew by the next decision."""
    live = {(obj.get("kind"), obj["metadata"]["name"]): obj for obj in scene.observed.clusters[cluster].objects}
    return {
        (obj["kind"], obj["metadata"]["name"])
        for obj in wanted
        if obj["kind"] == "StatefulSet"
        and (found := live.get((obj["kind"], obj["metadata"]["name"]))) is not None
        and manifests.claims_differ(found, obj)
    }


def _may_go(entry: tuple[str, str], look: Layout) -> bool:
    """An arm once traffic has left it; anything else once the cluster is where it should be."""
    kind, name = entry
    return name in look.done_with if kind == "Deployment" else look.clean or look.in_effect


def _objects(scene: Scene, cluster: str, want: Want, look: Layout, arms: Mapping[str, ModelRevision]) -> list[Manifest]:
    member = scene.observed.clusters[cluster].member
    owner = manifests.Owner(
        deployment=scene.metadata.name,
        namespace=scene.metadata.namespace,
        origin=scene.origin,
        cluster=cluster,
    )
    feedback = scene.spec.feedback
    export = exports_of(scene.analysis) if scene.analysis is not None else ()
    peers = _peer_files(scene, cluster)
    objects: list[Manifest] = [
        *manifests.collector(owner, arms[want.base].server, feedback, export=export, peer_files=peers),
        *(manifests.server_deployment(owner, arms[name], look.sizes[name], feedback) for name in sorted(arms)),
    ]
    objects += [manifests.service(owner, name, selects) for name, selects in sorted(look.selectors.items())]
    if scene.spec.traffic.mode is TrafficMode.GATEWAY and look.weights and member and member.gateway:
        objects.append(manifests.route(owner, member.gateway, scene.spec.traffic.hostnames, look.weights))
    return objects


def _peer_files(scene: Scene, cluster: str) -> Mapping[str, str]:
    members = {name: scene.observed.clusters[name].member for name in scene.placed}
    return peer_files(
        scene.spec.feedback.relay,
        cluster,
        {name: member.feedback for name, member in members.items() if member is not None},
        namespace=scene.metadata.namespace,
        deployment=scene.metadata.name,
    )
