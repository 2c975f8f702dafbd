"""The planner in a world of its own: a hub as JSON, members that obey, readings, and a clock that jumps.

    world = World("aws", "gcp")
    world.apply(a_deployment())
    world.run(600)
    world.apply(a_deployment().serving("v2"))
    world.run_until(lambda: world.condition("Promoted") == "True")

Every status goes through JSON and back. `world.trace` tells what was decided, in words (see `support.storyline`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from pilotage.api import encode
from pilotage.api.conditions import find
from pilotage.api.decode import member_cluster, model_deployment, model_revision
from pilotage.api.times import format_time
from pilotage.api.types import DeploymentStatus, ModelDeployment, ModelRevision, RolloutRecord
from pilotage.evidence.reading import BaselineQuery, Query, Reading
from pilotage.gate import Analysis
from pilotage.plan import ClusterView, Decision, Fresh, Intent, NotSynced, Observed, Unreachable, decide
from support.builders import DeploymentBuilder, a_cluster, tag_of
from support.members import Member, Quality
from support.storyline import Storyline

BEGINNING = 1_700_000_000.0
HUB_UID = "11111111-aaaa-bbbb-cccc-000000000000"


class Crash(Exception):
    """The operator died between two writes."""


class World:
    """A hub, its members, and an operator that is nothing but `decide`."""

    def __init__(self, *clusters: str) -> None:
        self.now = BEGINNING
        self.clusters = {name: a_cluster(name) for name in clusters}
        self.members = {name: Member(name) for name in clusters}
        self.quality: dict[str, Quality] = {}
        self.deployment: dict[str, Any] | None = None
        self.revisions: dict[str, dict[str, Any]] = {}
        self.readings: dict[tuple[str, ...], Reading] = {}
        self.asked: dict[tuple[str, ...], Query] = {}
        self.trace = Storyline(BEGINNING)
        self.hub_writes = 0
        self.writes = 0
        self.crash_before: int | None = None
        self._requeue_at: float | None = None
        self._cache: dict[str, tuple[Any, ModelRevision]] = {}

    # ------------------------------------------------------------------------------------------------------- people

    def apply(self, builder: DeploymentBuilder) -> None:
        """`kubectl apply`."""
        manifest = builder.manifest()
        if self.deployment is None:
            manifest["metadata"] |= {"uid": "22222222-dddd", "generation": 1, "resourceVersion": "1"}
            self.deployment = manifest
            self.trace.say(self.now, f"apply {tag_of(manifest['spec']['model']['bundle'])}")
        elif manifest["spec"] != self.deployment["spec"]:
            self.deployment["spec"] = manifest["spec"]
            self.deployment["metadata"]["generation"] += 1
            self.trace.say(self.now, f"apply {tag_of(manifest['spec']['model']['bundle'])}")

    def annotate(self, verb: str, value: str) -> None:
        """`kubectl annotate`."""
        assert self.deployment is not None
        self.deployment["metadata"].setdefault("annotations", {})[f"pilotage.dev/{verb}"] = value
        self.trace.say(self.now, f"annotate {verb}: {self.trace.shorten(value)}")

    def delete(self) -> None:
        """`kubectl delete`: the finalizer keeps the object until the operator lets go."""
        assert self.deployment is not None
        self.deployment["metadata"]["deletionTimestamp"] = format_time(self.now)
        self.trace.say(self.now, "delete")

    def join(self, name: str, **labels: str) -> Member:
        """A new MemberCluster."""
        self.clusters[name] = a_cluster(name, labels)
        self.trace.say(self.now, f"{name} joins")
        return self.members.setdefault(name, Member(name))

    def lose(self, name: str) -> None:
        """A member's API server stops answering."""
        self.members[name].link = Unreachable(since=self.now, reason="Unreachable", message="connect timeout")
        self.trace.say(self.now, f"{name} cannot be reached")

    def find_again(self, name: str) -> None:
        """It answers again."""
        self.members[name].link = Fresh()
        self.trace.say(self.now, f"{name} is back")

    def restart(self) -> None:
        """The operator's memory is gone; caches are filled again before it decides anything about a member."""
        self.readings.clear()
        self.asked.clear()
        for member in self.members.values():
            if isinstance(member.link, Fresh):
                member.link = NotSynced()
        self.step()
        for member in self.members.values():
            if isinstance(member.link, NotSynced):
                member.link = Fresh()

    # -------------------------------------------------------------------------------------------------------- state

    def exists(self) -> bool:
        """The ModelDeployment is still there."""
        return self.deployment is not None

    @property
    def model(self) -> ModelDeployment:
        assert self.deployment is not None
        return model_deployment(self.deployment)

    @property
    def status(self) -> DeploymentStatus:
        return self.model.status

    @property
    def rollout(self) -> RolloutRecord:
        rollout = self.status.rollout
        assert rollout is not None
        return rollout

    def condition(self, kind: str) -> str:
        found = find(self.status.conditions, kind)
        return found.status if found else "missing"

    def reason(self, kind: str) -> str:
        found = find(self.status.conditions, kind)
        return found.reason if found else "missing"

    def revision(self, tag: str) -> ModelRevision:
        """The ModelRevision of a bundle's short name."""
        return next(r for r in self._decoded_revisions().values() if tag_of(r.model.bundle) == tag)

    def pass_evidence(self, tag: str) -> float:
        """Log e-value of the first gate's pass side, as the gate reads its own record."""
        spec, evidence = self.model.spec, self.revision(tag).status.evidence
        assert spec is not None
        analysis = Analysis.from_spec({"gates": [dict(gate) for gate in spec.gates]})
        return next(iter(analysis.verdict(evidence[0].state).gates.values())).log_e_pass

    def name_of(self, tag: str) -> str:
        return self.revision(tag).metadata.name

    def share(self, cluster: str, tag: str) -> float:
        """The share of a cluster's requests that a model answers."""
        names = [r.metadata.name for r in self._decoded_revisions().values() if tag_of(r.model.bundle) == tag]
        return round(sum(self.members[cluster].share(name) for name in names), 3)

    def _decoded_revisions(self) -> dict[str, ModelRevision]:
        return {name: self._decoded(name, obj) for name, obj in self.revisions.items()}

    def _decoded(self, name: str, obj: dict[str, Any]) -> ModelRevision:
        """Decoded once for each write, which replaces the status."""
        known = self._cache.get(name)
        if known is None or known[0] is not obj.get("status"):
            revision = model_revision(obj)
            assert revision is not None
            known = self._cache[name] = (obj.get("status"), revision)
        return known[1]

    def observed(self) -> Observed:
        views = {}
        for name, obj in self.clusters.items():
            member = self.members[name]
            seen = not isinstance(member.link, NotSynced)
            views[name] = ClusterView(
                name=name,
                member=member_cluster(obj),
                link=member.link,
                objects=member.live() if seen else (),
                taken=tuple(member.taken.values()),
            )
        return Observed(
            hub_uid=HUB_UID,
            deployment=self.model,
            revisions=self._decoded_revisions(),
            clusters=views,
            readings=tuple(self.readings.values()),
            asked=tuple(self.asked.values()),
        )

    # --------------------------------------------------------------------------------------------------------- time

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        end = self.now + seconds
        while self.deployment is not None:
            self.rest()
            moment = self._next_moment()
            if moment is None or moment > end:
                break
            self.now = moment
        self.now = end

    def run_until(self, reached: Callable[[], bool], within_s: float = 48 * 3600) -> float:
        """Run until something is so; the seconds it took. Says what it last saw when it never is."""
        start = self.now
        while True:
            self.rest()
            if reached():
                return self.now - start
            moment = self._next_moment()
            if moment is None or moment > start + within_s:
                raise AssertionError(
                    f"not within {within_s} s; last: {self.status.phase} {self.status.message!r}\n{self.trace}"
                )
            self.now = moment

    def rest(self) -> None:
        """Decide and obey until this moment has nothing more to give."""
        for _ in range(100):
            if not self.step():
                return
        raise AssertionError(f"no rest at {self.now}: {self.trace}")

    def _next_moment(self) -> float | None:
        times = [at for member in self.members.values() if (at := member.next_event(self.now)) is not None]
        times += [self._requeue_at] if self._requeue_at is not None else []
        times += [query.asked_at + 0.2 for query in self.asked.values()]
        return max(min(times), self.now + 0.001) if times else None

    def step(self) -> bool:
        """One round: the world moves, the operator decides and writes. Whether anything changed."""
        if self.deployment is None:
            return False
        for member in self.members.values():
            member.settle(self.now)
        self._deliver()
        decision = decide(self.observed(), self.now)
        self._requeue_at = self.now + decision.requeue_after_s if decision.requeue_after_s is not None else None
        before = self._fingerprint()
        try:
            self._carry_out(decision)
        except Crash:
            self.restart()
            return True
        for member in self.members.values():
            member.settle(self.now)
        return self._fingerprint() != before

    def _deliver(self) -> None:
        for key, query in list(self.asked.items()):
            if query.asked_at + 0.2 <= self.now + 1e-9:
                self.readings[key] = self.members[query.cluster].answer(query, self.now, self._qualities())
                del self.asked[key]

    def _qualities(self) -> Mapping[str, Quality]:
        return {
            name: self.quality.get(tag_of(revision.model.bundle), Quality())
            for name, revision in self._decoded_revisions().items()
        }

    def _fingerprint(self) -> tuple[object, ...]:
        return (self.hub_writes, self.deployment is None, *self.asked, *(m.changes for m in self.members.values()))

    # ------------------------------------------------------------------------------------------------------- writing

    def _carry_out(self, decision: Decision) -> None:
        """The order of `plan.decision`; a crash may fall after any write."""
        assert self.deployment is not None
        self.trace.tell(self.now, self.observed(), decision)
        for revision in decision.create:
            self._write()
            obj = encode.revision_object(revision, self.model.metadata)
            obj["metadata"] |= {"uid": revision.metadata.name, "creationTimestamp": format_time(self.now)}
            self.revisions[revision.metadata.name] = obj
        for name, status in decision.revision_status.items():
            self._write()
            self.revisions[name]["status"] = _through_json(encode.revision_status(status))
        encoded = _through_json(encode.deployment_status(decision.status))
        if encoded != self.deployment.get("status"):
            self._write()
            self.deployment["status"] = encoded
        for name, intent in decision.intents.items():
            self._obey(name, intent)
        for query in decision.queries:
            key = (query.cluster, "" if isinstance(query, BaselineQuery) else query.wave)
            self.asked[key] = query
        for name in decision.remove_revisions:
            self._write()
            del self.revisions[name]
        if not decision.finalizer:
            self.deployment = None

    def _obey(self, name: str, intent: Intent) -> None:
        member = self.members[name]
        assert isinstance(member.link, Fresh), f"{name} cannot be seen and got an intent"
        self._write(count=False)
        member.obey(intent, self.now)

    def _write(self, *, count: bool = True) -> None:
        self.writes += 1
        self.hub_writes += count
        if self.writes == self.crash_before:
            raise Crash


def _through_json(value: Any) -> Any:
    return json.loads(json.dumps(value, allow_nan=False))
