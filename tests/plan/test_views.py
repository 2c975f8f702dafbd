"""What raw objects of a member mean to the planner."""

from __future__ import annotations

from typing import Any

import pytest

from pilotage.api.names import REVISION_LABEL
from pilotage.api.reasons import Reason
from pilotage.api.types import GatewayRef
from pilotage.plan import ClusterView, Fresh
from pilotage.plan.views import BOTH, Sight, sight_of

GATEWAY = GatewayRef(name="ingress", namespace="gateway-system")


def seen(*objects, pods=()) -> Sight:
    view = ClusterView(name="aws", member=None, link=Fresh(), objects=objects, pods=pods)
    return sight_of(view, deployment="digits", gateway=GATEWAY)


def a_deployment(revision: str = "r1", *, replicas: int = 3, ready: int = 3, **metadata: str) -> dict[str, Any]:
    labels = {REVISION_LABEL: revision}
    return {
        "kind": "Deployment",
        "metadata": {"name": revision, "labels": labels, **metadata},
        "spec": {"replicas": replicas},
        "status": {"readyReplicas": ready} if ready else {},
    }


def a_route(
    *, generation: int = 4, observed: int = 4, accepted: str = "True", resolved: str = "True", parent: str = "ingress"
) -> dict[str, Any]:
    conditions = [
        {"type": "Accepted", "status": accepted, "observedGeneration": observed, "message": "no matching listener"},
        {"type": "ResolvedRefs", "status": resolved, "observedGeneration": observed, "message": "no such Service"},
    ]
    backends = [{"name": "digits-stable", "weight": 90}, {"name": "digits-canary", "weight": 10}]
    parents = [{"parentRef": {"name": parent, "namespace": "gateway-system"}, "conditions": conditions}]
    return {
        "kind": "HTTPRoute",
        "metadata": {"name": "digits", "generation": generation},
        "spec": {"rules": [{"backendRefs": backends}]},
        "status": {"parents": parents},
    }


def a_pod(state: Any, *, last: Any = None, revision: str = "r1") -> dict[str, Any]:
    status = {"name": "server", "ready": False, "state": state, "lastState": last or {}}
    return {
        "metadata": {"name": "pod-1", "labels": {REVISION_LABEL: revision}},
        "status": {"containerStatuses": [status]},
    }


def test_a_secret_of_credentials_that_is_missing_is_named_by_the_servers_last_words():
    said = "pilotage-server: PILOTAGE_FEEDBACK_CREDENTIALS_DIR: /pilotage/feedback-credentials: 0 tokens; give 1 to 20"
    ended = {"terminated": {"exitCode": 2, "reason": "Error", "message": f"starting\n{said}\n"}}

    (problem,) = seen(pods=[a_pod({"waiting": {"reason": "CrashLoopBackOff"}}, last=ended)]).problems

    assert (problem.reason, problem.message) == (Reason.MEMBER_SECRET_MISSING, said)


def test_an_arm_is_its_deployment():
    sight = seen(a_deployment(replicas=3, ready=2))
    assert (sight.replicas("r1"), sight.ready("r1"), sight.ready("r2")) == (3, 2, 0)


def test_a_deployment_that_is_being_deleted_has_no_ready_pods():
    assert seen(a_deployment(deletionTimestamp="2026-01-01T00:00:00Z")).ready("r1") == 0


def test_a_service_selects_one_revision_or_both():
    one = {"kind": "Service", "metadata": {"name": "a"}, "spec": {"selector": {REVISION_LABEL: "r1"}}}
    both = {"kind": "Service", "metadata": {"name": "b"}, "spec": {"selector": {"pilotage.dev/arm": "server"}}}
    assert dict(seen(one, both).selectors) == {"a": "r1", "b": BOTH}


def test_a_route_is_in_effect_once_our_gateway_says_so_for_our_generation():
    route = seen(a_route()).route
    assert route is not None
    assert (route.weights, route.in_effect) == ((90, 10), True)


@pytest.mark.parametrize(
    ("route", "problem"),
    [
        (a_route(observed=3), "the gateway has not taken the HTTPRoute yet"),
        (a_route(accepted="False"), "the gateway says Accepted=False: no matching listener"),
        (a_route(resolved="False"), "the gateway says ResolvedRefs=False: no such Service"),
        (a_route(parent="another"), "gateway gateway-system/ingress has not answered for the HTTPRoute"),
    ],
    ids=["old-generation", "not-accepted", "unresolved", "another-gateway"],
)
def test_a_route_is_not_in_effect(route, problem):
    found = seen(route).route
    assert found is not None
    assert (found.in_effect, found.problem) == (False, problem)


@pytest.mark.parametrize(
    ("pod", "reason", "words"),
    [
        (
            a_pod({"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}),
            Reason.IMAGE_UNAVAILABLE,
            "no such",
        ),
        (
            a_pod({"waiting": {"reason": "ImagePullBackOff", "message": "volume bundle: digest mismatch"}}),
            Reason.BUNDLE_UNAVAILABLE,
            "digest mismatch",
        ),
        (
            a_pod({"waiting": {"reason": "CreateContainerConfigError", "message": "secret not found"}}),
            Reason.MEMBER_SECRET_MISSING,
            "secret not found",
        ),
        (
            a_pod(
                {"waiting": {"reason": "CrashLoopBackOff"}},
                last={"terminated": {"exitCode": 1, "message": "starting\nbundle refused: signed by another key"}},
            ),
            Reason.BUNDLE_REFUSED,
            "bundle refused: signed by another key",
        ),
        (a_pod({"terminated": {"exitCode": 137}}), Reason.PODS_FAILING, "the server ended with exit code 137"),
    ],
    ids=["image", "bundle", "secret", "refused", "crash"],
)
def test_pods_say_what_ails_them(pod, reason, words):
    (problem,) = seen(pods=(pod,)).problems
    assert problem.reason is reason
    assert words in problem.message


def test_a_pod_that_is_only_starting_has_no_problem():
    assert seen(pods=(a_pod({"waiting": {"reason": "ContainerCreating"}}),)).problems == ()
