"""What the operator writes of a revision: `ModelRevision.status`, its rollout's evidence and verdict, and its past."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pilotage.api.spec import Json
from pilotage.api.status import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """A gate as last judged: estimate and bounds of the canary's metric over the mix, log-evidence, labels per arm."""

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
