"""What the test rows say: metrics, the dummy beside them, fairness, interpretation, and warnings that follow.

Everything is measured on the served model, loaded from the very bytes of the bundle. Interpretation looks at
training rows where it can, so that the test rows tell one thing only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pilotage_server.bundle.decision import Argmax, Decision, LeastCost, Threshold
from pilotage_server.train.config import Config
from pilotage_server.train.data import Table
from pilotage_server.train.data.split import Part, Split
from pilotage_server.train.deploy.export import Export
from pilotage_server.train.evaluate import interpret
from pilotage_server.train.evaluate.counts import confusion
from pilotage_server.train.evaluate.curves import class_curves
from pilotage_server.train.evaluate.fairness import fairness
from pilotage_server.train.evaluate.metrics import Answers, evaluate
from pilotage_server.train.search.select import Selected

_MOST_IMPORTANCE_CELLS = 20_000_000
_LEAST_SUPPORT = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Plain JSON values for result.json, report and card."""

    metrics: dict[str, Any]
    dummy: dict[str, Any]
    fairness: dict[str, Any]
    interpretation: dict[str, Any]
    curves: dict[str, Any]
    decision: dict[str, Any]
    alterations: list[str]
    warnings: list[str]


def assess(
    config: Config, table: Table, parts: Split, test: Part, selected: Selected, pipeline: Any, exported: Export
) -> Outcome:
    """Measure the served model on the opened test rows."""
    probabilities = exported.predictor.probabilities(test.rows)
    answers = Answers(
        actual=test.labels,
        predicted=selected.decision.decide(probabilities),
        probabilities=probabilities,
        classes=table.classes,
        groups=test.groups,
        costs=selected.costs,
    )
    metrics = evaluate(answers, seed=config.split.seed, draws=config.report.draws)
    dummy = _dummy(parts.train, answers, config.split.seed)
    return Outcome(
        metrics=metrics,
        dummy=dummy,
        fairness=fairness(answers, test.attributes, config.fairness),
        interpretation=_interpret(config, table, parts.train, pipeline, exported),
        curves=class_curves(answers),
        decision=tell_decision(selected.decision, table.classes),
        alterations=_alterations(config),
        warnings=_warnings(metrics, selected),
    )


def _dummy(train: Part, answers: Answers, seed: int) -> dict[str, Any]:
    """The same metrics for class shares and the commonest class, whatever the row; cost is the cheapest class's."""
    shares = np.bincount(train.labels, minlength=len(answers.classes)) / len(train)
    same = Answers(
        actual=answers.actual,
        predicted=np.full(len(answers.actual), int(shares.argmax())),
        probabilities=np.tile(shares, (len(answers.actual), 1)),
        classes=answers.classes,
        costs=answers.costs,
    )
    found = evaluate(same, seed=seed, draws=200)
    names = ("accuracy", "balancedAccuracy", "logLoss", "brier", "rocAuc")
    told = {name: found[name] for name in names}
    if answers.costs is not None:  # whoever knows prices would always give the cheapest answer, not the commonest
        cheapest = int((shares @ answers.costs).argmin())
        always = replace(same, predicted=np.full(len(answers.actual), cheapest))
        told["expectedCost"] = evaluate(always, seed=seed, draws=200)["expectedCost"]
    return told


def _interpret(config: Config, table: Table, train: Part, pipeline: Any, exported: Export) -> dict[str, Any]:
    wanted, seed = config.report, config.split.seed
    found: dict[str, Any] = {
        "coefficients": interpret.coefficients(pipeline, table.features, table.classes)[:200],
        "importance": [],
        "partialDependence": [],
    }
    # Every step-th row of training: what matters to the model does not need all of them.
    step = max(1, len(train) * len(table.features) * interpret.REPEATS * len(table.features) // _MOST_IMPORTANCE_CELLS)
    rows, labels = train.rows[::step], train.labels[::step]
    if wanted.importance:
        found["importance"] = interpret.importance(exported.predictor, rows, labels, table.features, seed)
        top = [one["feature"] for one in found["importance"][: wanted.partial_dependence]]
        kinds = [column.categories for column in table.columns]
        found["partialDependence"] = interpret.partial_dependence(exported.predictor, rows, table.features, top, kinds)
    if wanted.shap:
        found["shap"] = interpret.shap_importance(exported.predictor, rows, table.features, seed)
    return found


def _alterations(config: Config) -> list[str]:
    done = [f"{s.keep:.0%} of the training rows of {s.label or 'every class'} kept" for s in config.data.subsample]
    return done + [f"{r.share:.0%} of the training rows of {r.label} labelled {r.to}" for r in config.data.relabel]


def _warnings(metrics: dict[str, Any], selected: Selected) -> list[str]:
    """Sentences a reader must not miss."""
    found = []
    if metrics["d2"]["low"] is not None and metrics["d2"]["low"] <= 0:
        found.append(
            "the model is not clearly better than the class shares alone (log loss): do not ship it for its figures"
        )
    if selected.document.get("comparison", {}).get("beatsDummy") is False:
        found.append("no candidate beat the dummy in cross-validation")
    few = {label: one["support"] for label, one in metrics["perClass"].items() if one["support"] < _LEAST_SUPPORT}
    if few:
        listed = ", ".join(f"{label} ({count})" for label, count in list(few.items())[:12])
        found.append(f"fewer than {_LEAST_SUPPORT} test rows of {listed}: figures of single classes are wide guesses")
    return found


def tell_decision(decision: Decision, classes: tuple[str, ...]) -> dict[str, Any]:
    """The rule as it stands in the manifest, and as a sentence."""
    match decision:
        case Argmax():
            return {"rule": "argmax", "text": "The most probable class wins."}
        case Threshold(positive=positive, value=value):
            label = classes[positive]
            text = f"Class {label} wins from probability {value:.3g} on."
            return {"rule": "threshold", "class": label, "value": value, "text": text}
        case LeastCost(costs=costs):
            return {"rule": "least-cost", "costs": costs, "text": "The class of least expected cost wins."}


def tell_holdback(table: Table, exported: Export, decision: Decision, part: Part) -> dict[str, Any] | None:
    """Count the served model's answers to the held-back rows: what a load generator should find."""
    if not len(part):
        return None
    predicted = decision.decide(exported.predictor.probabilities(part.rows))
    return {"rows": len(part), "confusion": confusion(part.labels, predicted, len(table.classes)).tolist()}
