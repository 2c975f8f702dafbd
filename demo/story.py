"""The main job in order: clouds, models, operator, v1, v2, v3, v3 without labels, report.

Reads as the list in README. Each step waits for facts in the objects' status with a deadline; a fact that does not come
ends the demo with what was last seen.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from demo import budget, checks, ledger, load, manifests, report, setup, traffic
from demo.screen import Screen
from demo.setup import MEMBERS, VERSIONS, Models, StepFailed
from localclouds import Clouds, images
from pilotage.api.types import ModelRevision, Outcome, Phase
from pilotage.cli.hub import Hub, Snapshot, connect

LOOK_S = 0.5
HELD_AFTER = "25s"
"""`maxDuration` of the attempt without labels: long enough to see that nothing is promoted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Where the demo plays: running clouds, trained models, the server's image, our eyes on the hub, files' place."""

    clouds: Clouds
    models: Models
    image: str
    hub: Hub
    screen: Screen
    folder: Path


def tell(clouds: Clouds, screen: Screen, folder: Path, seed: int) -> bool:
    """Play everything on running clouds, write the report, and say whether all came out as it should."""
    stage = _prepare(clouds, screen, folder)
    gateways = {name: clouds[name].gateway_url for name in MEMBERS}
    began = time.time()
    with screen.stage("v1: the first deployment, everywhere on readiness"):
        apply(stage, "v1")
        follow(stage, ended(Outcome.PROMOTED), 90)
    with traffic.running(gateways, stage.models.held_back, folder, seed) as requests:
        with screen.stage("v2: better; wave by wave, gated on recall and precision"):
            apply(stage, "v2")
            follow(stage, ended(Outcome.PROMOTED), 300)
        with screen.stage("v3: its recall of one class is worse; caught in the first wave"):
            apply(stage, "v3")
            follow(stage, ended(Outcome.ROLLED_BACK), 180)
            follow(stage, _settled, 60)
        with screen.stage("v3 once more, without labels: never promoted, held, aborted"):
            requests.withhold_labels()
            _retry_without_labels(stage)
        with screen.stage("Traffic stops, the last labels mature"):
            account = requests.stop()
            prometheus = {name: clouds[name].prometheus_url for name in MEMBERS}
            comparison = ledger.compare(account, lambda: ledger.counted(prometheus, time.time() - began + 60))
    with screen.stage("Report"):
        written = report.write(folder, stage.hub.snapshot(manifests.NAME), clouds, account, comparison, began)
    problems = checks.problems(written, comparison, stage.models)
    _summarise(stage, written, comparison, problems)
    return not problems


def _prepare(clouds: Clouds, screen: Screen, folder: Path) -> Stage:
    with screen.stage("Three digits classifiers are trained and signed"), ThreadPoolExecutor(2) as pool:
        keys = setup.make_keys(folder / "keys")
        trained = dict(
            zip(VERSIONS, pool.map(lambda version: setup.train(version, folder, keys), VERSIONS), strict=True)
        )
        models = setup.load_bundles(trained, keys, clouds)
    with (
        screen.stage("The operator goes into the hub, an access bundle into each member"),
        ThreadPoolExecutor(4) as pool,
    ):
        installing = [pool.submit(setup.install_member, clouds, name, models.public_key) for name in MEMBERS]
        setup.install_operator(clouds)
        for each in installing:
            each.result()
        list(pool.map(lambda name: setup.connect_member(clouds, name), MEMBERS))
        setup.kubectl(clouds["hub"].kubeconfig, "create", "namespace", manifests.NAMESPACE)
    for line in budget.lines():
        screen.say(f"  {line}")
    return look_at(clouds, models, screen, folder)


def look_at(clouds: Clouds, models: Models, screen: Screen, folder: Path) -> Stage:
    """The stage on clouds that are set up."""
    hub = connect(str(clouds["hub"].kubeconfig), None, manifests.NAMESPACE)
    image = images.reference("pilotage.dev/server:dev")
    return Stage(clouds=clouds, models=models, image=image, hub=hub, screen=screen, folder=folder)


def apply(stage: Stage, version: str) -> None:
    """`kubectl apply` the ModelDeployment with this version."""
    manifest = manifests.model_deployment(stage.models.references[version], stage.image, load.HOSTNAME)
    setup.apply(stage.clouds["hub"].kubeconfig, manifest)


def _retry_without_labels(stage: Stage) -> None:
    kubeconfig = stage.clouds["hub"].kubeconfig
    live = json.dumps({"spec": {"rollout": {"maxDuration": HELD_AFTER}}})
    setup.kubectl(kubeconfig, "patch", "mdep", manifests.NAME, "-n", manifests.NAMESPACE, "--type=merge", "-p", live)
    setup.pilotage(kubeconfig, "retry", manifests.NAME)
    held = follow(stage, _held, 120)
    stage.screen.say(f"  held: {held.deployment.status.message}")
    setup.pilotage(kubeconfig, "abort", manifests.NAME)
    follow(stage, ended(Outcome.ABORTED), 60)
    follow(stage, _settled, 60)


def follow(stage: Stage, fact: Callable[[Snapshot], bool], within_s: float) -> Snapshot:
    """Show the rollout until `fact` holds; StepFailed with what was last seen when it does not come in time."""
    ends = time.monotonic() + within_s
    with stage.screen.following():
        while True:
            snapshot = stage.hub.snapshot(manifests.NAME)
            stage.screen.show(snapshot)
            if fact(snapshot):
                return snapshot
            if time.monotonic() >= ends:
                status = snapshot.deployment.status
                conditions = "; ".join(f"{each.type}={each.status} {each.reason}" for each in status.conditions)
                raise StepFailed(f"not there after {within_s:g} s: {status.phase} {status.message} ({conditions})")
            time.sleep(LOOK_S)


def ended(outcome: Outcome) -> Callable[[Snapshot], bool]:
    """The rollout of the spec's generation has ended so; another end is an error at once."""

    def fact(snapshot: Snapshot) -> bool:
        deployment = snapshot.deployment
        rollout = deployment.status.rollout
        if rollout is None or deployment.status.observed_generation < deployment.metadata.generation:
            return False
        if rollout.outcome not in (None, outcome, Outcome.PROMOTED, Outcome.ROLLED_BACK):
            raise StepFailed(f"{rollout.name} ended {rollout.outcome}, not {outcome}: {rollout.message}")
        return rollout.outcome is outcome

    return fact


def _held(snapshot: Snapshot) -> bool:
    status = snapshot.deployment.status
    rollout = status.rollout
    return status.phase is Phase.PAUSED and rollout is not None and rollout.held and rollout.outcome is None


def _settled(snapshot: Snapshot) -> bool:
    """Every cluster serves stable alone again."""
    status = snapshot.deployment.status
    return all(cluster.revision == status.stable_revision for cluster in status.clusters)


def _summarise(stage: Stage, written: report.Report, comparison: ledger.Comparison, problems: Iterable[str]) -> None:
    lines = ["", "What happened:"]
    names = {reference: version for version, reference in stage.models.references.items()}
    bundles = {each.metadata.name: names.get(each.model.bundle, "?") for each in _revisions(stage)}
    for rollout in written.rollouts:
        version = bundles.get(rollout["revision"], "?")
        lines.append(f"  {version}  {rollout['outcome']:<11} in {', '.join(rollout['clusters']) or 'no cluster'}")
        lines += [f"        {report.gate_line(gate)}" for gate in rollout["gates"]]
    lines.append(f"  requests: {written.requests['sent']} sent, {written.requests['failed']} failed")
    agree = comparison.cells - len(comparison.wrong)
    lines.append(f"  labels:   {comparison.labels} posted; {agree} of {comparison.cells} cells counted exactly")
    lines.append(f"  report:   {stage.folder / 'report.html'}")
    stage.screen.print("\n".join(lines))
    for problem in problems:
        stage.screen.say(f"✖ {problem}", "red")


def _revisions(stage: Stage) -> tuple[ModelRevision, ...]:
    return stage.hub.snapshot(manifests.NAME).revisions
