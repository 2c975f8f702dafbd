"""Laws of `plan.traffic`: from any state, look and apply until the cluster rests, and nothing is lost on the way."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilotage.api.types import TrafficMode
from pilotage.plan.traffic import Want, canary_capacity, canary_replicas, holdback_replicas, lay_out
from pilotage.plan.views import BOTH, Arm, Route, Sight

REPLICAS = 4
REVISIONS = ("a", "b", "c")
BOTH_MODES = pytest.mark.parametrize("mode", list(TrafficMode), ids=str)

wants = st.one_of(
    st.sampled_from(REVISIONS).map(lambda base: Want(base=base)),
    st.tuples(st.permutations(REVISIONS), st.sampled_from([5, 10, 50, 90, 100])).map(
        lambda pair: Want(base=pair[0][0], canary=pair[0][1], weight=pair[1])
    ),
    st.tuples(st.permutations(REVISIONS), st.sampled_from([50, 80, 95])).map(
        lambda pair: Want(base=pair[0][0], canary=pair[0][1], weight=pair[1], is_full=True)
    ),
)
histories = st.lists(wants, min_size=1, max_size=5)


class Cluster:
    """Applies layouts at once; pods of an arm get ready one look later."""

    def __init__(self, mode: TrafficMode) -> None:
        self.mode = mode
        self.arms: dict[str, Arm] = {}
        self.selectors: dict[str, str] = {}
        self.route: Route | None = None

    def sight(self) -> Sight:
        return Sight(arms=dict(self.arms), selectors=dict(self.selectors), route=self.route)

    def look_and_apply(self, want: Want) -> bool:
        before = self.sight()
        look = lay_out(before, want, mode=self.mode, deployment="digits", replicas=REPLICAS)
        for revision in look.done_with:
            assert revision not in self.serving(), f"{revision} goes while it serves"
            self.arms.pop(revision, None)
        for revision, size in look.sizes.items():
            ready = self.arms[revision].ready if revision in self.arms else 0
            self.arms[revision] = Arm(revision=revision, replicas=size, ready=min(ready, size))
        self.selectors = dict(look.selectors)
        if look.weights:
            self.route = Route(weights=look.weights, in_effect=True)
        return look.in_effect and not look.done_with and self.sight() == before

    def pods_get_ready(self) -> None:
        self.arms = {
            name: Arm(revision=name, replicas=arm.replicas, ready=arm.replicas) for name, arm in self.arms.items()
        }

    def serving(self) -> dict[str, float]:
        """Share of requests by revision, of those that reach a ready pod."""
        if self.mode is TrafficMode.GATEWAY:
            if self.route is None:
                return {}
            slots = zip(("digits-stable", "digits-canary"), self.route.weights, strict=True)
            return {
                revision: weight / 100
                for name, weight in slots
                if weight and self.arms[revision := self.selectors[name]].ready
            }
        selected = self.selectors.get("digits")
        pods = {arm.revision: arm.ready for arm in self.arms.values() if selected in (BOTH, arm.revision) and arm.ready}
        return {revision: ready / sum(pods.values()) for revision, ready in pods.items()}

    def come_to_rest(self, want: Want) -> int:
        for look in range(40):
            if self.look_and_apply(want):
                return look
            if self.has_served:
                assert self.serving(), "nobody answers"
            self.pods_get_ready()
            self.has_served = self.has_served or bool(self.serving())
        raise AssertionError(f"no rest: {want} {self.sight()}")

    has_served = False


@BOTH_MODES
@settings(max_examples=150, deadline=None)
@given(history=histories)
def test_every_want_is_reached_from_every_other_and_someone_always_answers(mode, history):
    cluster = Cluster(mode)
    for want in history:
        cluster.come_to_rest(want)

    want = history[-1]
    serving = cluster.serving()
    if want.canary is None:
        assert serving == {want.base: 1.0}
        assert set(cluster.arms) == {want.base}
    elif want.weight == 100:
        assert serving == {want.canary: 1.0}
        assert cluster.arms[want.base].ready == REPLICAS, "stable is kept warm"
    else:
        assert set(serving) == {want.base, want.canary}
    if want.is_full:
        assert cluster.arms[want.canary].ready == REPLICAS, "what has passed has all its pods"


@BOTH_MODES
def test_traffic_does_not_move_to_pods_that_are_not_ready(mode):
    cluster = Cluster(mode)
    cluster.come_to_rest(Want(base="a"))

    for _ in range(5):
        cluster.look_and_apply(Want(base="a", canary="b", weight=50))

    assert cluster.serving() == {"a": 1.0}


@BOTH_MODES
def test_the_way_back_waits_for_a_ready_pod_of_stable(mode):
    cluster = Cluster(mode)
    cluster.come_to_rest(Want(base="a", canary="b", weight=50))
    cluster.arms["a"] = Arm(revision="a", replicas=2, ready=0)

    for _ in range(5):
        cluster.look_and_apply(Want(base="a"))

    assert cluster.arms["b"].ready
    assert lay_out(cluster.sight(), Want(base="a"), mode=mode, deployment="digits", replicas=REPLICAS).stuck


@pytest.mark.parametrize(
    ("replicas", "weight", "canary"),
    [(1, 10, 1), (3, 10, 1), (5, 10, 1), (5, 50, 3), (10, 25, 3), (4, 50, 2), (10, 99, 10)],
)
def test_the_canarys_pods_are_the_rounded_share_and_at_least_one(replicas, weight, canary):
    assert canary_replicas(replicas, weight) == canary


@pytest.mark.parametrize(("replicas", "weight", "pods"), [(3, 10, 1), (3, 50, 2), (3, 100, 3), (1, 50, 1), (10, 11, 2)])
def test_behind_a_gateway_the_canary_has_pods_for_its_share(replicas, weight, pods):
    assert canary_capacity(replicas, weight) == pods


@pytest.mark.parametrize(
    ("replicas", "holdback", "pods"),
    [(1, 5, 1), (3, 5, 1), (3, 20, 1), (10, 20, 3), (20, 5, 1), (40, 5, 2), (4, 50, 4)],
)
def test_by_the_ratio_of_pods_a_holdback_is_the_nearest_share_beside_a_full_canary(replicas, holdback, pods):
    assert holdback_replicas(replicas, holdback) == pods
