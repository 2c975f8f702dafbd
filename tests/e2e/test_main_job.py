"""`make demo`, looked at from outside: the report's contract, the outcomes, the counts, the pictures."""

from __future__ import annotations

import re
from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest

from demo import manifests
from demo.setup import MEMBERS, ROOT
from support.audit import Use, granted, writes
from support.clouds import kubectl
from support.rendered import rules_of

pytestmark = [pytest.mark.xdist_group("e2e"), pytest.mark.timeout(1200)]


def rollouts(played: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = played.report["rollouts"]
    return found


def test_everything_came_out_as_it_should(played):
    assert played.good, played.said


def test_outcomes_come_in_order(played):
    assert [each["outcome"] for each in rollouts(played)] == ["Promoted", "Promoted", "RolledBack", "Aborted"]
    starts = [datetime.fromisoformat(each["startedAt"]) for each in rollouts(played)]
    assert all(before < after for before, after in pairwise(starts))


def test_good_models_reached_every_cloud_and_the_worse_one_only_the_first(played):
    v1, v2, v3, again = rollouts(played)

    assert set(v1["clusters"]) == set(v2["clusters"]) == set(MEMBERS)
    assert set(v3["clusters"]) == {"aws"}
    assert set(again["clusters"]) <= {"aws"}
    assert v3["revision"] == again["revision"] != v2["revision"]


def test_the_first_deployment_was_not_judged(played):
    for gate in rollouts(played)[0]["gates"]:
        assert gate["verdict"] == "NotApplicable"
        assert gate["estimate"] is gate["lower"] is gate["upper"] is None


def test_v2_passed_with_enough_labels_and_bounds_around_its_estimate(played):
    for gate in rollouts(played)[1]["gates"]:
        assert gate["verdict"] == "Pass"
        assert gate["lower"] <= gate["estimate"] <= gate["upper"]
        assert gate["labels"]["canary"] >= 100


def test_v3_failed_on_the_recall_of_the_class_it_was_made_worse_in(played):
    gates = {gate["name"]: gate for gate in rollouts(played)[2]["gates"]}

    assert gates["recall-of-8"]["verdict"] == "Fail"
    assert gates["recall-of-8"]["upper"] < 0.85 or gates["recall-of-8"]["estimate"] < 0.85


def test_without_labels_nothing_was_promoted(played):
    again = rollouts(played)[3]

    assert {gate["verdict"] for gate in again["gates"]} == {"InsufficientData"}


def test_not_one_request_failed(played):
    assert played.report["requests"]["sent"] > 10_000
    assert played.report["requests"]["failed"] == 0


def test_every_matured_label_was_counted_exactly_once(played):
    labels = played.report["labels"]

    assert labels["posted"] > 5_000
    assert labels["cellsThatDiffer"] == 0


def test_the_page_stands_alone_and_has_the_plots(played):
    page = (played.folder / "report.html").read_text()

    assert page.count("<svg") == 5
    assert page.count("<polyline") >= 10
    assert not re.search(r"(src|href)\s*=\s*[\"']?(https?:)?//", page)


def test_the_budget_was_planned_aloud(played):
    assert "label budget" in played.said


def test_a_rollout_takes_few_writes(played):
    operator = f"system:serviceaccount:{manifests.OPERATOR_NAMESPACE}:pilotage"
    account = f"system:serviceaccount:{manifests.NAMESPACE}:pilotage-hub"
    evidence = [
        event
        for event in writes(played.clouds["hub"].audit_log, operator)
        if event["objectRef"]["resource"] == "modelrevisions" and event["objectRef"].get("subresource") == "status"
    ]

    for name in MEMBERS:
        # four rollouts, of which two took this member fully
        assert len(writes(played.clouds[name].audit_log, account)) <= 30 * 4
    assert evidence


ONLY_AFTER_A_CRASH = frozenset(
    {
        # a transition told again by the next leader is counted on the event that is there
        Use("events.k8s.io", "events", "patch"),
        # a create whose answer was lost: is the object ours?
        Use("pilotage.dev", "modelrevisions", "get"),
    }
)


def test_the_charts_grant_what_was_used_and_nothing_else(rights):
    operator = ROOT / "charts" / "pilotage"
    hub = granted([*rules_of(operator, "ClusterRole"), *rules_of(operator, "Role")])
    member = granted(rules_of(ROOT / "charts" / "pilotage-member", "Role"))

    assert rights.hub <= hub
    assert hub - rights.hub <= ONLY_AFTER_A_CRASH
    assert rights.members == member


def test_a_deleted_deployment_leaves_nothing_of_ours_in_any_member(rights, played):
    for name in MEMBERS:
        left = kubectl(
            played.clouds[name],
            *("get", "deployments,statefulsets,services,configmaps,httproutes", "-n", manifests.NAMESPACE),
            *("-l", "app.kubernetes.io/managed-by=pilotage", "-o", "name"),
        )
        assert left == ""
