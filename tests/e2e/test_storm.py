"""A real rollout in bad weather: it takes longer, and comes to the same end with the same counts."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

import pytest

from demo import ledger, manifests, story, traffic
from demo.setup import MEMBERS
from pilotage.api.types import Outcome
from support import storm
from support.clouds import kubectl

pytestmark = [pytest.mark.xdist_group("e2e"), pytest.mark.timeout(1500)]


def test_a_good_model_arrives_through_kills_freezes_and_lost_servers(stage: story.Stage):
    clouds, draw, began = stage.clouds, random.Random(20), time.time()
    gateways = {name: clouds[name].gateway_url for name in MEMBERS}

    with (
        traffic.running(gateways, stage.models.held_back, stage.folder, seed=2, repost=True) as requests,
        storm.at_random_moments(
            lambda: storm.kill(clouds, "pilotage-operator", draw=draw), times=10, between_s=(3, 14), draw=draw
        ) as kills,
        Meanwhile(
            lambda: _freeze(clouds["aws"], "kube-apiserver", 30.0),
            lambda: storm.kill(clouds, "pilotage-server", "collect", draw=draw),
            lambda: clouds["azure"].kill("kube-apiserver"),
            lambda: _stop(clouds["gcp"], "prometheus", 15.0),
            lambda: storm.kill(clouds, "pilotage-server", "collect", draw=draw),
        ),
    ):
        story.apply(stage, "v2")
        story.follow(stage, story.ended(Outcome.PROMOTED), 900)
        account = requests.stop()

    prometheus = {name: clouds[name].prometheus_url for name in MEMBERS}
    comparison = ledger.compare(account, lambda: ledger.counted(prometheus, time.time() - began + 5))
    assert kills() >= 3
    assert [each for each in account.failures if " infer" in each] == []
    assert comparison.labels > 3_000
    assert comparison.wrong == ()


def test_afterwards_every_cluster_serves_the_new_model_alone(stage: story.Stage):
    stable = stage.hub.snapshot(manifests.NAME).deployment.status.stable_revision

    for name in MEMBERS:
        arms = kubectl(stage.clouds[name], "get", "deployments", "-n", manifests.NAMESPACE, "-o", "name").split()
        assert arms == [f"deployment.apps/{stable}"]


class Meanwhile:
    """Run these one after another in the background while the block runs; a failure of one fails the block."""

    def __init__(self, *acts: Callable[[], object]) -> None:
        self._acts = acts
        self._errors: list[Exception] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def _work(self) -> None:
        try:
            for act in self._acts:
                if self._ended.wait(8.0):
                    return
                act()
        except Exception as error:
            self._errors.append(error)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        if self._errors:
            raise self._errors[0]


def _freeze(cloud, component: str, seconds: float) -> None:
    with cloud.paused(component):
        threading.Event().wait(seconds)


def _stop(cloud, component: str, seconds: float) -> None:
    with cloud.stopped(component):
        threading.Event().wait(seconds)
