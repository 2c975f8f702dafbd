"""What must be true at the end of the demo: outcomes in order, no failed request, every label counted once. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from demo import plan
from demo.ledger import Comparison
from demo.report import Report
from demo.setup import MEMBERS, Models

EXPECTED = (("v1", "Promoted"), ("v2", "Promoted"), ("v3", "RolledBack"), ("v3", "Aborted"))


def problems(report: Report, comparison: Comparison, models: Models) -> list[str]:
    """A sentence for everything that is not as it should be."""
    return [*_outcomes(report, models), *_counts(report, comparison)]


def _outcomes(report: Report, models: Models) -> Iterator[str]:
    versions = {reference: version for version, reference in models.references.items()}
    seen = tuple((versions.get(each["model"], "?"), each["outcome"]) for each in report.rollouts)
    if seen != EXPECTED:
        yield f"the rollouts were {seen}, not {EXPECTED}"
        return
    v1, v2, v3, again = report.rollouts
    first = set(next(iter(plan.WAVES.values())))
    for rollout in (v1, v2):
        if set(rollout["clusters"]) != set(MEMBERS):
            yield f"{rollout['revision']} was promoted, but took {rollout['clusters']}"
    for rollout in (v3, again):
        if not set(rollout["clusters"]) <= first:
            yield f"{rollout['revision']} reached {rollout['clusters']}; only {sorted(first)} should have seen it"
    if {gate["verdict"] for gate in v1["gates"]} != {"NotApplicable"}:
        yield f"the first deployment has gates that were judged: {v1['gates']}"
    if {gate["verdict"] for gate in v2["gates"]} != {"Pass"}:
        yield f"v2 was promoted without a pass of every gate: {v2['gates']}"
    failed = {gate["name"] for gate in v3["gates"] if gate["verdict"] == "Fail"}
    if "recall-of-8" not in failed:
        yield f"v3 came back, but not for its recall of 8: {v3['gates']}"
    if any(gate["verdict"] == "Pass" for gate in again["gates"]):
        yield f"a gate passed without labels: {again['gates']}"


def _counts(report: Report, comparison: Comparison) -> Iterator[str]:
    if report.requests["failed"]:
        yield f"{report.requests['failed']} of {report.requests['sent']} requests failed: {report.failures[:3]}"
    if not comparison.labels:
        yield "no label was posted"
    for cell, posted, counted in comparison.wrong[:5]:
        yield f"{cell}: {posted} labels posted, {counted} counted"
    # On a machine that is short of breath the generator may post a label after labelDelay: told, counted by nobody.
    odd = {result: n for result, n in report.label_results.items() if result not in ("accepted", "late")}
    if odd:
        yield f"labels that were not accepted: {odd}"
