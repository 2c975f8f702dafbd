"""Whatever people and fate do, in whatever order: what must hold at every moment.

A state machine over the planner's world: specs, verbs, outages, sick pods, silent metrics, restarts, time.
"""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pilotage.api.names import canary_service
from pilotage.api.types import RolloutHistory
from pilotage.plan import Fresh, decide
from support.builders import a_deployment
from support.members import Quality
from support.world import World

CLUSTERS = ("aws", "gcp")
QUALITIES = {
    "v1": Quality(),
    "v2": Quality(recall_yes=0.95),
    "v3": Quality(recall_yes=0.6),
    "v4": Quality(recall_yes=0.9),
}
some_cluster = st.sampled_from(CLUSTERS)


class AnyOrder(RuleBasedStateMachine):
    """Rules are what happens, invariants what must hold after each."""

    @initialize(
        gateway=st.booleans(), labels=st.sampled_from([0.0, 2.0, 50.0]), holdback=st.sampled_from([None, None, 0, 20])
    )
    def begin(self, gateway: bool, labels: float, holdback: int | None) -> None:
        self.world = World(*CLUSTERS)
        self.world.quality = dict(QUALITIES)
        for member in self.world.members.values():
            member.labels_per_s = labels
        deployment = a_deployment().with_waves(first=["aws"], rest=None).with_analysis(interval="1m")
        self.deployment = deployment.with_rollout(maxDuration="4h") if gateway else deployment.by_replicas()
        self.bakes = holdback is not None
        if self.bakes:
            self.deployment = self.deployment.with_rollout(bake={"duration": "5m", "holdback": holdback})
        self.world.apply(self.deployment)
        self.world.run(60)

    @rule(tag=st.sampled_from(sorted(QUALITIES)))
    def apply_a_model(self, tag: str) -> None:
        self.deployment = self.deployment.serving(tag)
        self.world.apply(self.deployment)
        self.world.run(1)

    @rule(steps=st.sampled_from([(10, 50), (25,), (5, 20, 60)]))
    def edit_the_steps(self, steps: tuple[int, ...]) -> None:
        self.deployment = self.deployment.with_steps(*steps)
        self.world.apply(self.deployment)
        self.world.run(1)

    @rule(paused=st.booleans())
    def pause_or_resume(self, paused: bool) -> None:
        self.deployment = self.deployment.paused(paused)
        self.world.apply(self.deployment)
        self.world.run(1)

    @rule()
    def write_a_typo(self) -> None:
        self.world.apply(self.deployment.with_rollout(maxDuration="soon"))
        self.world.run(1)

    @rule(verb=st.sampled_from(["abort", "retry", "retry-fresh", "promote-full"]))
    def ask(self, verb: str) -> None:
        if self.world.status.rollout is not None:
            self.world.annotate(verb, self.world.rollout.name)
            self.world.run(1)

    @rule(cluster=some_cluster)
    def lose_or_find_a_cluster(self, cluster: str) -> None:
        if isinstance(self.world.members[cluster].link, Fresh):
            self.world.lose(cluster)
        else:
            self.world.find_again(cluster)
        self.world.run(1)

    @rule(cluster=some_cluster)
    def silence_metrics_or_not(self, cluster: str) -> None:
        self.world.members[cluster].metrics = not self.world.members[cluster].metrics
        self.world.run(1)

    @precondition(lambda self: self.world.revisions)
    @rule(cluster=some_cluster, pick=st.integers(0, 3))
    def pods_fall_sick_or_get_well(self, cluster: str, pick: int) -> None:
        names = sorted(self.world.revisions)
        self.world.members[cluster].sick ^= {names[pick % len(names)]}
        self.world.run(1)

    @rule()
    def the_operator_restarts(self) -> None:
        self.world.restart()

    @rule(seconds=st.sampled_from([10, 120, 900]))
    def time_passes(self, seconds: float) -> None:
        self.world.run(seconds)

    # --------------------------------------------------------------------------------------------------- must hold

    @invariant()
    def deciding_again_changes_nothing(self) -> None:
        world = self.world
        world.rest()
        again = decide(world.observed(), world.now)
        assert again.status == world.status
        assert (again.events, again.create, dict(again.revision_status), again.remove_revisions) == ((), (), {}, ())
        assert again.queries == ()

    @invariant()
    def the_canary_never_gets_more_than_its_step(self) -> None:
        world, rollout = self.world, self.world.status.rollout
        for name, member in world.members.items():
            route = member.objects.get(("HTTPRoute", "digits"))
            if route is None or not isinstance(member.link, Fresh) or member.sick or rollout is None or rollout.outcome:
                continue
            wave = next((wave for wave in rollout.waves if name in wave.clusters), None)
            allowed = wave.steps[-1].weight if wave else 0
            given = sum(b["weight"] for b in _backends(route) if b["name"] == canary_service("digits"))
            assert given <= allowed or world.status.stable_revision is None, f"{name}: {given} > {allowed}"

    @invariant()
    def nothing_is_promoted_without_a_pass(self) -> None:
        for tag in QUALITIES:
            if not any(tag in obj["spec"]["model"]["bundle"].split("@")[0] for obj in self.world.revisions.values()):
                continue
            status = self.world.revision(tag).status
            for entry in status.history:
                if entry.outcome == "Promoted" and not entry.ungated:
                    verdicts = {gate.verdict for gate in entry.gates}
                    first = not any(gate.labels_stable for gate in entry.gates)
                    assert verdicts in ({"Pass"}, {"NotApplicable"}) or (first and "Fail" not in verdicts)
                assert not (tag == "v3" and verdicts_of(entry) == {"Pass"}), "a model this bad must not pass"

    @invariant()
    def a_bake_is_never_cut_short_but_by_a_person(self) -> None:
        rollout = self.world.status.rollout
        if self.bakes and rollout is not None and rollout.outcome == "Promoted" and not rollout.promote_full:
            assert rollout.full_at is not None
            assert rollout.decided_at is not None
            assert rollout.decided_at >= rollout.full_at + 300

    @invariant()
    def the_stable_pods_stay_while_the_revision_bakes(self) -> None:
        rollout, stable = self.world.status.rollout, self.world.status.stable_revision
        if rollout is None or rollout.outcome is not None or rollout.full_at is None or stable is None:
            return
        for name, member in self.world.members.items():
            assert ("Deployment", stable) in member.objects, name

    @invariant()
    def a_latched_revision_has_no_rollout_under_way(self) -> None:
        status = self.world.status
        if status.latched_revision and status.rollout and status.rollout.outcome is None:
            assert status.rollout.revision != status.latched_revision

    @invariant()
    def requests_are_answered_where_pods_are_well(self) -> None:
        for name, member in self.world.members.items():
            served_before = any(shares for _, shares in member.shares)
            if served_before and not member.sick and not member.becomes_ready:
                assert sum(member.shares[-1][1].values()) > 0.999, f"{name}: {member.shares[-1]}"

    @invariant()
    def a_rollout_under_way_waits_for_something(self) -> None:
        rollout = self.world.status.rollout
        waiting_on_people = self.world.status.phase == "Paused" or any(
            self.world.condition(kind) == "False" for kind in ("MembersReachable", "SpecValid")
        )
        if rollout is not None and rollout.outcome is None and not waiting_on_people:
            sick = any(member.sick for member in self.world.members.values())
            assert sick or self.world._next_moment() is not None, self.world.status.message


def verdicts_of(entry: RolloutHistory) -> set[str]:
    return {gate.verdict for gate in entry.gates}


def _backends(route: dict[str, Any]) -> list[dict[str, Any]]:
    return [backend for each in route["spec"]["rules"] for backend in each["backendRefs"]]


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(
    max_examples=12,
    stateful_step_count=16,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
