"""From training to gate: advice in the user's words, bounds out of the test set, labels as the gate plans them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from pilotage.api.decode import model_deployment
from pilotage.gate import Analysis
from pilotage.gate.planning import label_budget
from pilotage_server.train.advice import Advice, Use, advise
from pilotage_server.train.cli import app
from pilotage_server.train.deploy.gates import Setting, plan_gates
from pilotage_server.train.deploy.margins import first_margin
from pilotage_server.train.deploy.needs import Stratum, labels_to_pass
from support.serving import DIGITS, train_config
from support.tables import a_credit_file

RATES = {"cat": {"cat": 180.0, "dog": 20.0}, "dog": {"cat": 15.0, "dog": 285.0}}
WEIGHT = 0.25


def gate_plans(gate: dict[str, Any]) -> float:
    """The gate's own plan: canary labels of any class until it passes."""
    analysis = Analysis.from_spec({"gates": [{"name": "it", **gate}], "analysis": {"alpha": 0.05}})
    (need,) = label_budget(
        analysis, classes=("cat", "dog"), shares={"aws": 1.0}, canary=RATES, stable=RATES, canary_weight=WEIGHT
    )
    return need.all_labels


def strata_of(*rates: tuple[float, float], against_stable: bool) -> list[Stratum]:
    found = [Stratum(share=share, rate=rate, weight=1 / len(rates)) for share, rate in rates]
    if against_stable:
        ratio = (1 - WEIGHT) / WEIGHT
        found += [Stratum(share=share * ratio, rate=rate, weight=-1 / len(rates)) for share, rate in rates]
    return found


CAT, DOG = (0.4, 0.9), (0.6, 0.95)


@pytest.mark.parametrize(
    ("gate", "strata", "bound"),
    [
        ({"metric": "recall", "class": "cat", "floor": 0.8}, strata_of(CAT, against_stable=False), 0.8),
        ({"metric": "recall", "class": "cat", "margin": 0.05}, strata_of(CAT, against_stable=True), -0.05),
        ({"metric": "recall", "average": "macro", "margin": 0.03}, strata_of(CAT, DOG, against_stable=True), -0.03),
        ({"metric": "accuracy", "margin": 0.02}, strata_of((1.0, 0.93), against_stable=True), -0.02),
        (
            {"metric": "precision", "class": "dog", "floor": 0.9},
            strata_of((0.61, 285 / 305), against_stable=False),
            0.9,
        ),
    ],
    ids=["floor", "margin", "macro margin", "accuracy margin", "precision floor"],
)
def test_labels_to_pass_equal_the_gates_own_plan(gate: dict[str, Any], strata: list[Stratum], bound: float) -> None:
    assert labels_to_pass(strata, bound, alpha=0.05) == pytest.approx(gate_plans(gate), rel=0.02)


def test_a_bound_out_of_reach_takes_for_ever() -> None:
    assert labels_to_pass(strata_of(CAT, against_stable=False), 0.95, alpha=0.05) == float("inf")


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("digits") / "run"
    train_config(DIGITS, out)
    return out


def manifest_of(run: Path, *arguments: str) -> tuple[str, dict[str, Any]]:
    ended = CliRunner().invoke(app, ["manifest", str(run), *arguments])
    assert ended.exit_code == 0, ended.stderr
    return ended.stdout, yaml.safe_load(ended.stdout)


def test_the_manifest_is_one_the_operator_takes(digits: Path) -> None:
    text, manifest = manifest_of(digits, "--labels-per-day", "1000", "--name", "numbers")

    manifest["metadata"] |= {"uid": "u", "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z"}
    decoded = model_deployment(manifest)

    assert decoded.problems == ()
    assert manifest["spec"]["model"]["bundle"] == json.loads((digits / "result.json").read_text())["reference"]
    assert "# At 1000 labels a day: about" in text
    assert "rollout.maxDuration is 24h unless set" in text


def test_recall_gets_a_floor_from_its_interval_and_precision_only_a_margin(digits: Path) -> None:
    metrics = json.loads((digits / "result.json").read_text())["metrics"]

    _, manifest = manifest_of(digits)

    gates = {gate["metric"]: gate for gate in manifest["spec"]["gates"]}
    label = gates["recall"]["class"]
    interval = metrics["perClass"][label]["recall"]
    assert interval["value"] == min(one["recall"]["value"] for one in metrics["perClass"].values())
    assert interval["low"] - 0.01 < gates["recall"]["floor"] <= interval["low"]
    assert "floor" not in gates["precision"]
    assert "floor" not in gates["accuracy"]
    assert gates["precision"]["margin"] > 0


def test_a_declared_prevalence_moves_precision_and_gives_it_a_floor() -> None:
    document = {
        "classes": ["ok", "fraud"],
        "metrics": {
            "rows": 2_000,
            "confusion": [[970, 30], [100, 900]],
            "perClass": {
                "ok": {"recall": {"value": 0.97, "low": 0.96, "high": 0.98}},
                "fraud": {
                    "recall": {"value": 0.9, "low": 0.88, "high": 0.918},
                    "precision": {"value": 900 / 930, "low": 0.95, "high": 0.98},
                },
            },
        },
    }
    counsel = advise({"ok": 1_000, "fraud": 1_000}, {}, Use.ALARMS)
    rare = advise({"ok": 9_900, "fraud": 100}, {}, Use.ALARMS)
    prevalence = {"ok": 0.99, "fraud": 0.01}

    gates = plan_gates(document, rare.gates, Setting(canary_share=0.5, alpha=0.05, prevalence=prevalence, costs={}))
    without = plan_gates(document, rare.gates, Setting(canary_share=0.5, alpha=0.05, prevalence=None, costs={}))

    in_production = 0.01 * 0.9 / (0.01 * 0.9 + 0.99 * 0.03)
    assert counsel.gates
    assert 0.15 < gates[0].spec["floor"] < in_production < 0.24
    assert "floor" not in without[0].spec
    assert gates[0].labels > without[0].labels


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--prevalence", "0=1"], "--prevalence: must name every class once"),
        (["--weights", "50,10"], "--weights: ascending whole numbers"),
        (["--weights", "ten"], "--weights and --prevalence: write 10,50"),
    ],
)
def test_wrong_wishes_are_usage_errors(arguments: list[str], message: str, digits: Path) -> None:
    ended = CliRunner().invoke(app, ["manifest", str(digits), *arguments])

    assert ended.exit_code == 2
    assert message in ended.stderr


def test_rare_classes_make_accuracy_mislead() -> None:
    counsel = advise({"ok": 980, "fraud": 20}, {}, Use.GENERAL)

    assert [gate.title for gate in counsel.gates] == ["recall of fraud", "precision of fraud"]
    assert any("always answering ok is right 98.0% of the time and finds no fraud" in text for text in counsel.warnings)


def test_costs_name_the_dearest_mistake() -> None:
    counsel = advise({"ok": 500, "fraud": 500}, {"fraud": {"ok": 20.0}, "ok": {"fraud": 1.0}}, Use.GENERAL)

    assert [gate.title for gate in counsel.gates[:3]] == ["recall of fraud", "precision of fraud", "expectedCost"]
    assert "calling fraud ok is the dearest mistake (20)" in counsel.gates[0].reason
    assert counsel.select_by == "expectedCost"


@pytest.mark.parametrize("use", list(Use), ids=str)
def test_what_is_advised_is_what_a_gate_can_be(use: Use, tmp_path: Path) -> None:
    data = a_credit_file(tmp_path / "credit.csv")
    (tmp_path / "costs.yaml").write_text("{yes: {no: 5}, no: {yes: 1}}\n")
    (tmp_path / "quoted.yaml").write_text("{'yes': {'no': 5}, 'no': {'yes': 1}}\n")

    ended = CliRunner().invoke(
        app,
        ["advise", str(data), "--target", "defaulted", "--use", str(use), "--costs", str(tmp_path / "quoted.yaml")],
    )

    assert ended.exit_code == 0, ended.stderr
    analysis = Analysis.from_spec(yaml.safe_load(ended.stdout))
    analysis.start(("no", "yes"), {"aws": 1.0})
    assert "Gate on:" in ended.stderr


CRD: dict[str, Any] = yaml.safe_load(
    (Path(__file__).parents[2] / "crds" / "modeldeployments.yaml").read_text(encoding="utf-8")
)


def strict(schema: Any) -> Any:
    """The schema with unknown fields refused, as `kubectl apply --validate=strict` does."""
    if isinstance(schema, dict):
        found = {key: strict(value) for key, value in schema.items()}
        return found | {"additionalProperties": False} if "properties" in found else found
    return [strict(one) for one in schema] if isinstance(schema, list) else schema


def test_manifest_and_advice_hold_to_the_custom_resources_schema(digits: Path, tmp_path: Path) -> None:
    schema = CRD["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    _, manifest = manifest_of(digits, "--prevalence", ",".join(f"{digit}=0.1" for digit in range(10)))
    data = a_credit_file(tmp_path / "credit.csv")
    advised = CliRunner().invoke(app, ["advise", str(data), "--target", "defaulted", "--use", "ranking"])

    check = jsonschema.Draft4Validator(strict(schema))  # whose exclusiveMinimum is a boolean, as there
    check.validate(manifest["spec"])
    check.validate(manifest["spec"] | yaml.safe_load(advised.stdout))


def test_first_margins_are_no_finer_than_the_data() -> None:
    counts, costs = {"ok": 9_000, "fraud": 1_000}, {"fraud": {"ok": 20.0}, "ok": {"fraud": 1.0}}

    def margin(metric: str, label: str = "") -> float:
        return first_margin(Advice(metric=metric, label=label, reason=""), counts, costs)

    assert margin("recall", "fraud") == pytest.approx(1.96 * (0.09 / 200) ** 0.5, abs=5e-4)
    assert margin("recall", "ok") == pytest.approx(1.96 * (0.09 / 1_800) ** 0.5, abs=5e-4)
    assert margin("expectedCost") == pytest.approx(0.05 * 9_000 / 10_000, rel=0.05), "calling all fraud costs least"
    assert margin("logLoss") == pytest.approx(0.05 * 0.325, rel=0.05)
    assert first_margin(Advice(metric="recall", label="x", reason=""), {"x": 3, "y": 4}, {}) == 0.1
