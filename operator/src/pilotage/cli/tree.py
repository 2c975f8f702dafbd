"""The tree of one ModelDeployment: revisions, waves, clusters, gates. Pure: a snapshot and a time in, lines out.

Everything shown is in the objects' status; nothing is asked of members or Prometheus. `rows` is the structure, `render`
the text, so that colour is somebody else's business.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pilotage.api.types import GateResult, ModelRevision, RolloutRecord, WaveEvidence, WaveRecord
from pilotage.cli.hub import Snapshot
from pilotage.cli.progress import phase_of
from pilotage.cli.words import SYMBOLS, VERDICT_SYMBOLS, age, number, short_reference
from pilotage.plan.bake import bakes_until


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the tree: its depth from 0, columns, and whether a sibling follows is worked out by `render`."""

    depth: int
    name: str
    kind: str = ""
    status: str = ""
    age: str = ""
    info: str = ""


def render(snapshot: Snapshot, now: float) -> str:
    """The head and the tree, as `pilotage get NAME` prints them."""
    return "\n".join([*_head(snapshot), "", *_table(list(rows(snapshot, now)))]) + "\n"


def rows(snapshot: Snapshot, now: float) -> Iterator[Row]:
    """The tree, top down: the deployment, then its revisions, canary first."""
    deployment = snapshot.deployment
    phase = phase_of(deployment)
    yield Row(
        depth=0,
        name=f"⟳ {deployment.metadata.name}",
        kind="ModelDeployment",
        status=f"{SYMBOLS[phase]} {phase.value}",
        age=age(now - deployment.metadata.creation_timestamp),
    )
    for revision in _in_order(snapshot):
        yield from _revision(snapshot, revision, now)


def gate_line(gate: GateResult, spec: Mapping[str, Any]) -> str:
    """`recall[8] 0.931 [0.902, 0.953] n=1204 floor 0.90 ✔ Pass`: estimate, bounds, labels, what is asked, verdict.

    Where there is a margin, stable's value and the difference with its bounds; then whether it only advises, and when
    a pass may come, and what the figures rest on.
    """
    asked = " ".join(f"{key} {spec[key]:g}" for key in ("floor", "ceiling", "margin") if key in spec)
    bounds = f"{number(gate.estimate)} [{number(gate.lower)}, {number(gate.upper)}] n={gate.labels_canary}"
    said = f"{gate_title(gate, spec)} {bounds}{_against(gate)} {asked}".rstrip()
    notes = ["advisory"] if gate.advisory else []
    notes += [f"a pass in about {age(gate.eta_s)}"] if gate.eta_s is not None and gate.verdict != "Pass" else []
    notes += [gate.note] if gate.note else []
    told = f" ({', '.join(notes)})" if notes else ""
    return f"{said} {VERDICT_SYMBOLS.get(gate.verdict, '?')} {gate.verdict}{told}"


def _against(gate: GateResult) -> str:
    if gate.difference is None or gate.difference.estimate is None:
        return ""
    found = gate.difference
    return f" Δ {found.estimate:+.3f} [{number(found.lower)}, {number(found.upper)}]"


def gate_title(gate: GateResult, spec: Mapping[str, Any]) -> str:
    """`recall[8]`, `precision[macro]`, `accuracy`."""
    which = spec.get("class") or spec.get("average")
    metric = spec.get("metric", gate.name)
    return f"{metric}[{which}]" if which else str(metric)


def _head(snapshot: Snapshot) -> list[str]:
    deployment = snapshot.deployment
    status, phase = deployment.status, phase_of(deployment)
    facts = [
        ("Name", deployment.metadata.name),
        ("Namespace", deployment.metadata.namespace),
        ("Status", f"{SYMBOLS[phase]} {phase.value}"),
        ("Message", status.message),
        ("Step", status.step),
        ("Weight", str(status.weight) if status.step else ""),
        ("Clusters", status.clusters_summary),
        ("Verdict", status.verdict),
        ("Stable", _named(snapshot, status.stable_revision)),
        ("Target", _named(snapshot, status.target_revision)),
        *(("Problem", problem) for problem in deployment.problems),
    ]
    return [f"{name + ':':<12}{value}" for name, value in facts if value]


def _named(snapshot: Snapshot, name: str | None) -> str:
    revision = next((each for each in snapshot.revisions if each.metadata.name == name), None)
    return "" if not name else f"{name}  {short_reference(revision.model.bundle)}" if revision else name


def _in_order(snapshot: Snapshot) -> list[ModelRevision]:
    status = snapshot.deployment.status
    first = [status.target_revision, status.stable_revision]
    return sorted(
        snapshot.revisions,
        key=lambda each: (
            first.index(each.metadata.name) if each.metadata.name in first else len(first),
            -each.metadata.creation_timestamp,
        ),
    )


def _revision(snapshot: Snapshot, revision: ModelRevision, now: float) -> Iterator[Row]:
    status, name = snapshot.deployment.status, revision.metadata.name
    rollout = status.rollout if status.rollout and status.rollout.revision == name else None
    yield Row(
        depth=1,
        name=f"# {name}",
        kind="ModelRevision",
        status=_standing(name, rollout, status.stable_revision, revision),
        age=age(now - revision.metadata.creation_timestamp),
        info=short_reference(revision.model.bundle),
    )
    shown: set[str] = set()
    if rollout is not None and rollout.outcome is None:
        for wave in rollout.waves:
            shown |= set(wave.clusters)
            yield from _wave(snapshot, revision, wave, now)
        yield from _bake(snapshot, rollout, now)
    for cluster in status.clusters:
        if cluster.revision == name and cluster.name not in shown:
            yield _cluster(2, cluster.name, cluster.weight, cluster.state)
    if rollout is not None and rollout.outcome is not None:
        last = revision.status.evidence[-1:] or ()
        for evidence in last:
            yield from _gates(snapshot, evidence, 2)


def _standing(name: str, rollout: RolloutRecord | None, stable: str | None, revision: ModelRevision) -> str:
    if name == stable:
        return "✔ stable"
    if rollout is None:
        outcome = revision.status.outcome
        return f"• {outcome.value}" if outcome else "•"
    if rollout.outcome is None:
        return f"◌ attempt {rollout.attempt}"
    return f"✖ {rollout.outcome.value} (attempt {rollout.attempt})"


def _wave(snapshot: Snapshot, revision: ModelRevision, wave: WaveRecord, now: float) -> Iterator[Row]:
    spec = snapshot.deployment.spec
    planned = max(1, len(spec.rollout.steps)) if spec else len(wave.steps)
    step = "✔ passed" if wave.passed_at else _step(snapshot, wave, planned)
    yield Row(depth=2, name=f"≋ {wave.name}", kind="Wave", status=step, age=age(now - wave.started_at))
    states = {each.name: each for each in snapshot.deployment.status.clusters}
    for name in wave.clusters:
        state = states.get(name)
        yield _cluster(3, name, state.weight if state else 0, state.state if state else "")
    evidence = next((each for each in revision.status.evidence if each.wave == wave.name), None)
    if evidence is not None:
        yield from _gates(snapshot, evidence, 3)
        yield from _conditions(evidence, 3)


def _step(snapshot: Snapshot, wave: WaveRecord, planned: int) -> str:
    if not wave.steps:
        return "◌ starting"
    if len(wave.steps) > planned:
        return "◌ taking it fully"
    steps = snapshot.deployment.spec.rollout.steps if snapshot.deployment.spec else ()
    required = steps[len(wave.steps) - 1].require if len(wave.steps) <= len(steps) else None
    return f"◌ step {len(wave.steps)}/{planned}" + (f", requires {required.value}" if required else "")


def _bake(snapshot: Snapshot, rollout: RolloutRecord, now: float) -> Iterator[Row]:
    spec = snapshot.deployment.spec
    until = bakes_until(spec, rollout) if spec else None
    if until is None or rollout.full_at is None:
        return
    left = f"{age(until - now)} left" if until > now else "its last metrics are awaited"
    kept = 100 - rollout.waves[-1].steps[-1].weight if rollout.waves and rollout.waves[-1].steps else 0
    held = f", {kept} % held back on stable" if kept else ""
    yield Row(
        depth=2, name="≈ bake", kind="Bake", status="◌ baking", age=age(now - rollout.full_at), info=f"{left}{held}"
    )


def _conditions(evidence: WaveEvidence, depth: int) -> Iterator[Row]:
    for broken in evidence.conditions:
        where = f"{broken.cluster}: " if broken.cluster else ""
        yield Row(
            depth=depth, name=f"⚠ {broken.type}", kind="Condition", status="nothing passes", info=where + broken.message
        )


def _cluster(depth: int, name: str, weight: int, state: str) -> Row:
    return Row(depth=depth, name=f"☁ {name}", kind="Cluster", status=state, info=f"weight {weight}")


def _gates(snapshot: Snapshot, evidence: WaveEvidence, depth: int) -> Iterator[Row]:
    specs = {
        str(each.get("name")): each for each in (snapshot.deployment.spec.gates if snapshot.deployment.spec else ())
    }
    for gate in evidence.gates:
        yield Row(depth=depth, name=f"α {gate.name}", kind="Gate", info=gate_line(gate, specs.get(gate.name, {})))


def _table(rows: Sequence[Row]) -> list[str]:
    lines = [("NAME", "KIND", "STATUS", "AGE", "INFO")]
    lines += [(_branch(rows, n) + row.name, row.kind, row.status, row.age, row.info) for n, row in enumerate(rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return ["  ".join(f"{text:<{width}}" for text, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def _branch(rows: Sequence[Row], n: int) -> str:
    depth = rows[n].depth
    if depth == 0:
        return ""
    stems = ("│  " if _has_later_sibling(rows, n, level) else "   " for level in range(1, depth))
    return "".join(stems) + ("├──" if _has_later_sibling(rows, n, depth) else "└──")


def _has_later_sibling(rows: Sequence[Row], n: int, level: int) -> bool:
    later = (row.depth for row in rows[n + 1 :])
    return next((depth == level for depth in later if depth <= level), False)
