"""What a look at the evidence says, as data: enough to recompute, render and explain it. Nothing here decides."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

from pilotage.gate.conditions import Breach
from pilotage.gate.report import Bounds


class Outcome(StrEnum):
    """``NOT_APPLICABLE`` occurs for single gates only: there is no stable to compare with."""

    PASS = "Pass"  # noqa: S105  (a verdict, no password)
    FAIL = "Fail"
    INCONCLUSIVE = "Inconclusive"
    INSUFFICIENT_DATA = "InsufficientData"
    NOT_APPLICABLE = "NotApplicable"


@dataclass(frozen=True, slots=True, kw_only=True)
class GateVerdict:
    """One gate. Estimate and bounds are of the canary's metric over the mix, in its own units, None while undefined.

    ``stable``: stable's metric over the same mix. ``log_e_pass`` is the least, ``log_e_fail`` the greatest over the
    gate's tests. ``labels``: ``{arm: {cluster: n}}`` in the gate's own denominator; ``step_labels``: ``{arm: n}`` since
    the last change of weight. ``advisory``: reported, decides nothing. ``blocks``: closed so far by all of the gate's
    processes; a caller that looks again from an older state must keep every state in which this has grown: a bet once
    seen is never taken back.
    ``eta``: seconds to a pass at the pace of the last hour, None if there is no such pace.
    """

    name: str
    title: str
    state: Outcome
    reason: str
    estimate: float | None
    stable: float | None
    floor: float | None
    ceiling: float | None = None
    margin: float | None
    advisory: bool = False
    log_e_pass: float
    log_e_fail: float
    labels: Mapping[str, Mapping[str, int]]
    step_labels: Mapping[str, int]
    blocks: int
    eta: float | None
    bounds: Bounds = field(repr=False, compare=False)

    @property
    def lower(self) -> float | None:
        """Always-valid lower bound of the metric (statistics.md §2.8)."""
        return self.bounds.metric.lower if self.bounds.metric else None

    @property
    def upper(self) -> float | None:
        """Always-valid upper bound of the metric."""
        return self.bounds.metric.upper if self.bounds.metric else None

    @property
    def difference(self) -> Mapping[str, float] | None:
        """``{estimate, lower, upper}`` of canary − stable, for a gate with a margin."""
        return self.bounds.difference.to_dict() if self.bounds.difference else None

    @property
    def binning(self) -> float | None:
        """How far a ROC-AUC may be off because scores are known to a bucket only; None for other metrics."""
        return self.bounds.binning

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, bounds included."""
        told = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "bounds"}
        shown = {"lower": self.lower, "upper": self.upper, "difference": self.difference}
        raw: dict[str, Any] = _plain(told | shown | ({} if self.binning is None else {"binning": self.binning}))
        return raw


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The wave's verdict. ``fail_weight``: this wave's Σ wᵢEᵢ; a rollout adds its waves and fails at 1/beta.

    ``step_ready``: every gate has ``minSamples`` canary labels since the last change of weight, which is what an
    intermediate step waits for. ``coverage``: ``{arm: {cluster: labels / served rows}}``, None where not told.
    ``breaches``: conditions of the guarantee that are broken now, and the gates whose verdict each withholds.
    """

    state: Outcome
    reason: str
    gates: Mapping[str, GateVerdict]
    fail_weight: float
    alpha: float
    beta: float
    step_ready: bool
    coverage: Mapping[str, Mapping[str, float | None]]
    breaches: tuple[Breach, ...] = ()

    @property
    def conditions(self) -> Mapping[str, str]:
        """Broken conditions by name, each with the first of its reasons; what is only suspected is none."""
        return {str(breach.condition): breach.reason for breach in reversed(self.breaches) if not breach.suspected}

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        raw: dict[str, Any] = _plain({f.name: getattr(self, f.name) for f in fields(self)})
        return raw


def _plain(value: Any) -> Any:
    if isinstance(value, StrEnum):
        return str(value)
    if isinstance(value, GateVerdict):
        return value.to_dict()
    if isinstance(value, Breach):
        return {"condition": str(value.condition), "reason": value.reason, "gates": sorted(value.passes)}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value
