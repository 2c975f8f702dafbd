"""Raw objects of one member → what the planner asks of them: arms, selectors, route, what ails the pods.

Reads only what Kubernetes guarantees (spec, status, observedGeneration) and believes no status that is older than its
spec. Knows no wave and no verdict; a member that cannot be seen never gets here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pilotage.api import names
from pilotage.api.reasons import Reason
from pilotage.api.types import GatewayRef
from pilotage.plan.feedback import CREDENTIALS
from pilotage.plan.observed import ClusterView, Manifest

BOTH = "*"
"""What a Service selects whose selector matches the pods of both arms."""

_MESSAGE_LIMIT = 300
_REFUSAL = "the gateway says"
_PULL_FAILURES = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull")
_CONFIG_FAILURES = ("CreateContainerConfigError", "CreateContainerError")
_CRASHES = ("CrashLoopBackOff", "RunContainerError", "Error")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """A revision's Deployment: pods asked for, pods ready now."""

    revision: str
    replicas: int
    ready: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Our HTTPRoute: weights of (stable, canary) as written, and whether the gateway has taken this generation."""

    weights: tuple[int, int]
    in_effect: bool
    problem: str = ""

    @property
    def is_refused(self) -> bool:
        """The gateway has looked at it and said no."""
        return self.problem.startswith(_REFUSAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class PodProblem:
    """Why pods of a revision do not get ready, in the words of the kubelet or of the server."""

    revision: str
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """One reachable member as this deployment sees it. `selectors`: Service name → revision, `BOTH`, or ''."""

    arms: Mapping[str, Arm] = field(default_factory=dict)
    selectors: Mapping[str, str] = field(default_factory=dict)
    route: Route | None = None
    objects: tuple[tuple[str, str], ...] = ()
    problems: tuple[PodProblem, ...] = ()

    def ready(self, revision: str | None) -> int:
        """Ready pods of a revision; 0 when it is not there."""
        arm = self.arms.get(revision) if revision else None
        return arm.ready if arm else 0

    def replicas(self, revision: str | None) -> int:
        """Pods a revision is asked to have; 0 when it is not there."""
        arm = self.arms.get(revision) if revision else None
        return arm.replicas if arm else 0


def sight_of(view: ClusterView, *, deployment: str, gateway: GatewayRef | None) -> Sight:
    """What a reachable member shows."""
    arms: dict[str, Arm] = {}
    selectors: dict[str, str] = {}
    route = None
    for obj in view.objects:
        metadata = obj["metadata"]
        match obj.get("kind"):
            case "Deployment" if revision := (metadata.get("labels") or {}).get(names.REVISION_LABEL):
                arms[revision] = _arm(revision, obj)
            case "Service":
                selectors[metadata["name"]] = _selected(obj)
            case "HTTPRoute" if metadata["name"] == deployment:
                route = _route(obj, deployment, gateway)
    return Sight(
        arms=arms,
        selectors=selectors,
        route=route,
        objects=tuple((obj.get("kind", ""), obj["metadata"]["name"]) for obj in view.objects if not _is_leaving(obj)),
        problems=tuple(_pod_problems(view.pods)),
    )


def _is_leaving(obj: Manifest) -> bool:
    return "deletionTimestamp" in obj["metadata"]


def _arm(revision: str, obj: Manifest) -> Arm:
    status = obj.get("status") or {}
    # A Deployment that is being deleted serves no one for long; its pods count for nothing.
    ready = 0 if _is_leaving(obj) else int(status.get("readyReplicas") or 0)
    return Arm(revision=revision, replicas=int((obj.get("spec") or {}).get("replicas", 1)), ready=ready)


def _selected(obj: Manifest) -> str:
    selector = (obj.get("spec") or {}).get("selector") or {}
    if revision := selector.get(names.REVISION_LABEL):
        return str(revision)
    return BOTH if selector.get(names.ARM_LABEL) else ""


def _route(obj: Manifest, deployment: str, gateway: GatewayRef | None) -> Route:
    weights = {
        backend.get("name"): int(backend.get("weight", 1))
        for rule in (obj.get("spec") or {}).get("rules") or ()
        for backend in rule.get("backendRefs") or ()
    }
    problem = _route_problem(obj, gateway)
    return Route(
        weights=(
            weights.get(names.stable_service(deployment), 0),
            weights.get(names.canary_service(deployment), 0),
        ),
        in_effect=not problem,
        problem=problem,
    )


def _route_problem(obj: Manifest, gateway: GatewayRef | None) -> str:
    """Empty when our gateway says Accepted and ResolvedRefs for the generation we wrote."""
    if gateway is None:
        return "the MemberCluster names no gateway"
    generation = obj["metadata"].get("generation", 0)
    for parent in (obj.get("status") or {}).get("parents") or ():
        reference = parent.get("parentRef") or {}
        if (reference.get("name"), reference.get("namespace", gateway.namespace)) != (gateway.name, gateway.namespace):
            continue
        said = {condition["type"]: condition for condition in parent.get("conditions") or ()}
        for kind in ("Accepted", "ResolvedRefs"):
            condition = said.get(kind, {})
            if condition.get("observedGeneration") != generation:
                return "the gateway has not taken the HTTPRoute yet"
            if condition.get("status") != "True":
                words = condition.get("message") or condition.get("reason") or ""
                return f"{_REFUSAL} {kind}={condition.get('status')}: {words}"[:_MESSAGE_LIMIT]
        return ""
    return f"gateway {gateway.namespace}/{gateway.name} has not answered for the HTTPRoute"


def _pod_problems(pods: Iterable[Manifest]) -> Iterable[PodProblem]:
    seen = set()
    for pod in sorted(pods, key=lambda pod: str(pod["metadata"]["name"])):
        revision = (pod["metadata"].get("labels") or {}).get(names.REVISION_LABEL)
        if not revision or revision in seen or _is_leaving(pod):
            continue
        status = pod.get("status") or {}
        for container in status.get("containerStatuses") or ():
            problem = _container_problem(container)
            if problem is not None:
                seen.add(revision)
                yield PodProblem(revision=revision, reason=problem[0], message=problem[1][:_MESSAGE_LIMIT])
                break


def _container_problem(container: Mapping[str, Any]) -> tuple[Reason, str] | None:
    if container.get("ready"):
        return None
    waiting = (container.get("state") or {}).get("waiting") or {}
    ended = (container.get("state") or {}).get("terminated") or (container.get("lastState") or {}).get("terminated")
    reason, message = waiting.get("reason", ""), waiting.get("message", "")
    if reason in _PULL_FAILURES:
        bundle = "volume" in message.lower()
        return (Reason.BUNDLE_UNAVAILABLE if bundle else Reason.IMAGE_UNAVAILABLE), message or reason
    if reason in _CONFIG_FAILURES:
        return Reason.MEMBER_SECRET_MISSING, message or reason
    if ended and (reason in _CRASHES or ended.get("exitCode")):
        return _last_words(str(ended.get("message") or "").strip(), ended.get("exitCode"))
    return None


def _last_words(message: str, code: object) -> tuple[Reason, str]:
    last = message.splitlines()[-1] if message else f"the server ended with exit code {code}"
    if CREDENTIALS in last:
        return Reason.MEMBER_SECRET_MISSING, last
    refused = "bundle" in last.lower()
    return (Reason.BUNDLE_REFUSED if refused else Reason.PODS_FAILING), last
