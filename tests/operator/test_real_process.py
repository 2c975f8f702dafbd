"""The operator as a process on real control planes: it leads, dies, freezes and comes back, and nothing is lost."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from support.clouds import apply, get, kubectl
from support.operators import NAMESPACE, OperatorProcess
from support.polling import eventually
from support.realfleet import Fleet, a_rollout
from support.simworld import V1, V2

pytestmark = [pytest.mark.clouds, pytest.mark.xdist_group("operator")]


def test_a_revision_goes_everywhere_and_the_next_one_replaces_it(fleet: Fleet, models: str, tmp_path: Path) -> None:
    with OperatorProcess(fleet.hub, tmp_path) as operator:
        apply(fleet.hub, a_rollout(models))
        fleet.promoted(models)
        apply(fleet.hub, a_rollout(models, V2))
        fleet.promoted(models)
        eventually(lambda: fleet.bundles("aws", models) == fleet.bundles("gcp", models) == {V2}, within_s=30)
        assert operator.page("/readyz") == (200, "ok\n")
        assert operator.page("/livez") == (200, "ok\n")
        assert operator.metric("pilotage_member_up") == 2.0
        assert operator.metric("pilotage_reconciles_total", result="error") == 0.0
        kubectl(fleet.hub, "delete", "mdep", "digits", "-n", models, "--timeout=60s")
        for name in ("aws", "gcp"):
            eventually(lambda name=name: fleet.bundles(name, models) == set(), within_s=30)  # type: ignore[misc]
        assert operator.end() == 0
        lease = get(fleet.hub, "lease", "pilotage-operator", "-n", NAMESPACE)
        assert not lease["spec"].get("holderIdentity"), "given back"


def test_when_the_leader_is_killed_the_other_takes_over(fleet: Fleet, models: str, tmp_path: Path) -> None:
    with (
        OperatorProcess(fleet.hub, tmp_path, number=1) as first,
        OperatorProcess(fleet.hub, tmp_path, number=2) as second,
    ):
        eventually(lambda: first.said("operator.leads") or second.said("operator.leads"), within_s=40)
        leader, standby = (first, second) if first.said("operator.leads") else (second, first)
        apply(fleet.hub, a_rollout(models))
        fleet.promoted(models)
        assert not standby.is_leading()
        assert standby.page("/readyz")[0] == 200, "standbys are ready"
        leader.kill()
        eventually(standby.is_leading, within_s=20)
        apply(fleet.hub, a_rollout(models, V2))
        fleet.promoted(models)


def test_a_leader_that_was_frozen_writes_nothing_when_it_wakes(fleet: Fleet, models: str, tmp_path: Path) -> None:
    with (
        OperatorProcess(fleet.hub, tmp_path, number=1) as first,
        OperatorProcess(fleet.hub, tmp_path, number=2) as second,
    ):
        eventually(lambda: first.said("operator.leads") or second.said("operator.leads"), within_s=40)
        leader, standby = (first, second) if first.said("operator.leads") else (second, first)
        apply(fleet.hub, a_rollout(models))
        fleet.promoted(models)
        leader.freeze()
        apply(fleet.hub, a_rollout(models, V2))
        eventually(standby.is_leading, within_s=25)
        fleet.promoted(models)
        lines = len(leader.said())
        leader.thaw()
        assert leader.process.wait(30) == 1, "it has lost the Lease"
        woken = [each["event"] for each in leader.said()[lines:]]
        assert "sync.applied" not in woken
        assert "sync.deleted" not in woken
        assert "lease.lost" in woken
        fleet.promoted(models)


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_at_random_moments_it_ends_where_it_would_have(
    fleet: Fleet, models: str, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    pause = threading.Event()
    apply(fleet.hub, a_rollout(models))
    # a short lease, so that a successor need not wait 15 s for the dead
    quick: dict[str, Any] = {"lease_duration_s": 5.0, "lease_renew_deadline_s": 4.0, "lease_retry_s": 0.5}
    for number in range(3):
        with OperatorProcess(fleet.hub, tmp_path, number=number, **quick) as operator:
            operator.await_leading()
            pause.wait(chance.uniform(0.0, 0.8))
            operator.kill()
        if number == 0:
            apply(fleet.hub, a_rollout(models, V2))
    with OperatorProcess(fleet.hub, tmp_path, number=9, **quick):
        fleet.promoted(models)
        eventually(lambda: fleet.bundles("aws", models) == fleet.bundles("gcp", models) == {V2}, within_s=30)
        revisions = get(fleet.hub, "mrev", "-n", models)["items"]
        assert len(revisions) == 2


def test_the_hub_paused_for_thirty_seconds_and_killed_costs_only_time(
    fleet: Fleet, models: str, tmp_path: Path
) -> None:
    patient: dict[str, Any] = {"lease_duration_s": 60.0, "lease_renew_deadline_s": 50.0}
    pause = threading.Event()
    with OperatorProcess(fleet.hub, tmp_path, **patient) as operator:
        apply(fleet.hub, a_rollout(models))
        fleet.promoted(models)
        with fleet.hub.paused("kube-apiserver"):
            pause.wait(30)
        apply(fleet.hub, a_rollout(models, V2))
        fleet.promoted(models, within_s=120)
        fleet.hub.kill("kube-apiserver")
        fleet.hub.await_ready("kube-apiserver")
        apply(fleet.hub, a_rollout(models, V1))
        fleet.promoted(models, within_s=120)
        assert operator.process.poll() is None


def test_a_dead_member_is_told_within_thirty_seconds_and_goes_on_when_it_is_back(
    fleet: Fleet, models: str, tmp_path: Path
) -> None:
    with OperatorProcess(fleet.hub, tmp_path):
        apply(fleet.hub, a_rollout(models))
        fleet.promoted(models)
        with fleet.member("aws").cut_off("silent"):
            eventually(lambda: fleet.holds(models, "MembersReachable", "False"), within_s=30)
            assert fleet.ready("aws")["reason"] == "Unreachable"
            apply(fleet.hub, a_rollout(models, V2))
            eventually(lambda: fleet.condition(models, "Progressing").get("reason") == "WaitingForMember", within_s=20)
            assert fleet.bundles("gcp", models) == {V1}
        eventually(lambda: fleet.ready("aws").get("status") == "True", within_s=40)
        fleet.promoted(models, within_s=90)


def test_bad_settings_end_at_once_with_two(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pilotage", "--workers", "none"], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 2
    assert done.stderr == "--workers: 'none' is not a number; write for example 5\n"


def test_a_hub_without_our_kinds_is_told_in_one_line(fleet: Fleet, tmp_path: Path) -> None:
    with OperatorProcess(fleet.member("aws"), tmp_path) as operator:
        assert operator.process.wait(30) == 1
        (ended,) = operator.said("operator.ended")
        assert "install the CRDs" in ended["error"]
        assert "Traceback" not in operator.raw_log()


def test_bad_members_are_told_and_nothing_is_retried_hotly(fleet: Fleet, models: str, tmp_path: Path) -> None:
    unsafe = json.dumps(
        {
            "apiVersion": "v1",
            "current-context": "a",
            "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
            "clusters": [{"name": "a", "cluster": {"server": "http://127.0.0.1:1"}}],
            "users": [{"name": "a", "user": {"exec": {"command": "/bin/sh"}}}],
        }
    )
    fleet.join("unsafe", kubeconfig=unsafe.encode())
    fleet.join("twin", cloud="aws")
    pause = threading.Event()
    try:
        with OperatorProcess(fleet.hub, tmp_path) as operator:
            apply(fleet.hub, a_rollout(models))
            eventually(lambda: fleet.ready("unsafe").get("reason") == "KubeconfigRefused", within_s=40)
            message = fleet.ready("unsafe")["message"]
            assert "user.exec" in message
            assert "cluster.server: 'http://127.0.0.1:1' is not https" in message
            eventually(lambda: fleet.ready("twin").get("reason") == "DuplicateCluster", within_s=40)
            assert fleet.ready("aws")["status"] == "True"
            events = get(fleet.hub, "events.events.k8s.io", "-n", "default")["items"]
            assert {"KubeconfigRefused", "DuplicateCluster"} <= {each["reason"] for each in events}
            before = operator.metric("pilotage_api_requests_total", member="twin")
            pause.wait(10)
            assert operator.metric("pilotage_api_requests_total", member="twin") - before <= 6
            assert "Traceback" not in operator.raw_log()
    finally:
        kubectl(fleet.hub, "delete", "mcl", "unsafe", "twin")
