"""What the operator writes of a revision: `ModelRevision.status`, its rollout's evidence and verdict, and its past."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pilotage.api.spec import Json
from pilotage.api.status import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """canary − stable over the production mix, in the metric's unit, with always-valid bounds."""

    estimate: float | None = None
    lower: float | None = None
    upper: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """A gate as last judged: estimate and bounds of the canary's metric over the mix, log-evidence, labels per arm.

    `stable` is stable's metric over the same mix, `difference` there for a gate with a margin, `advisory` one that
    never decides, `eta_s` how long a pass may still take at the pace of late. `note`: how its counts were made, where
    that differs from what was asked for (a bound rounded to an edge of the histogram).
    """

    name: str
    verdict: str
    reason: str = ""
    estimate: float | None = None
    lower: float | None = None
    upper: float | None = None
    log_e_pass: float | None = None
    log_e_fail: float | None = None
    labels_stable: int = 0
    labels_canary: int = 0
    stable: float | None = None
    difference: Difference | None = None
    advisory: bool = False
    eta_s: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceCondition:
    """A condition of the guarantee that does not hold: its name, the cluster it was seen in (empty: all), and how."""

    type: str
    message: str
    cluster: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceBoundary:
    """Where a cluster's last block ended (see `evidence.reading.Boundary`)."""

    cluster: str
    at: float
    checksum: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WaveEvidence:
    """The e-processes of one wave: state as `pilotage.gate` wrote it, block boundaries, verdict of the last block.

    `step` is the one whose window is being counted, from 0; `clusters` are those the state was started with.
    `step_ready`: every gate has its minSamples of this step. `fail_weight`: this wave's share of the fail evidence.
    `conditions`: what the guarantee rests on and does not hold; while there is one, nothing passes.
    """

    wave: str
    step: int
    state: Mapping[str, Json]
    clusters: tuple[str, ...] = ()
    boundaries: tuple[EvidenceBoundary, ...] = ()
    verdict: str = "InsufficientData"
    reason: str = ""
    step_ready: bool = False
    fail_weight: float = 0.0
    gates: tuple[GateResult, ...] = ()
    conditions: tuple[EvidenceCondition, ...] = ()
    blocks: int = 0
    updated_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutHistory:
    """A past attempt: what `status.history` keeps of it (≤ 10)."""

    attempt: int
    outcome: Outcome
    reason: str
    message: str
    clusters: tuple[str, ...]
    gates: tuple[GateResult, ...]
    started_at: float
    decided_at: float
    ungated: bool = False
    fresh: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionStatus:
    """`ModelRevision.status`: evidence and verdict of its rollout, and what became of earlier attempts.

    `carried` is what a retry's pass side continues: `{"stable": mrev, "waves": {wave: gate state}}`.
    """

    attempt: int = 0
    evidence: tuple[WaveEvidence, ...] = ()
    clusters: tuple[str, ...] = ()
    verdict: str = ""
    outcome: Outcome | None = None
    carried: Mapping[str, Json] | None = None
    history: tuple[RolloutHistory, ...] = ()
