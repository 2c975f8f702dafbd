"""The label budget of the plan: how many labels each gate is expected to need, and how long that takes. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from demo import plan
from pilotage.gate import Analysis
from pilotage.gate.planning import label_budget


def analysis() -> Analysis:
    """The analysis of the plan's gates."""
    return Analysis.from_spec({"gates": [dict(gate) for gate in plan.GATES], "analysis": dict(plan.ANALYSIS)})


def lines() -> Iterator[str]:
    """A sentence for each test of each gate: v2 against v1, v3 against v2, in the first wave at its first weight."""
    clusters = next(iter(plan.WAVES.values()))
    weight = plan.WEIGHTS[0] / 100
    per_s = sum(plan.REQUESTS_PER_S[name] for name in clusters) * plan.LABEL_SHARE * weight
    yield f"label budget, first wave at weight {plan.WEIGHTS[0]}, {per_s:.0f} canary labels a second:"
    for canary, stable in (("v2", "v1"), ("v3", "v2")):
        for need in label_budget(
            analysis(),
            classes=plan.CLASSES,
            shares={name: plan.REQUESTS_PER_S[name] for name in clusters},
            canary=plan.expected_confusion(canary),
            stable=plan.expected_confusion(stable),
            canary_weight=weight,
            waves=len(plan.WAVES),
        ):
            yield (
                f"  {canary} {need.gate} ({need.kind}): {need.verdict} after about {need.labels:.0f} labels of its own,"
                f" {need.all_labels:.0f} canary labels in all, {need.all_labels / per_s:.0f} s"
            )
