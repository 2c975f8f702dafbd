"""Gates as users write them: every mistake is named with path, value and remedy, all at once."""

import pytest

from pilotage.gate import Analysis, GateSpecError

GOOD = {"name": "quality", "metric": "accuracy", "margin": 0.02}


def problems_of(gates: object, analysis: object = None) -> list[str]:
    with pytest.raises(GateSpecError) as caught:
        Analysis.from_spec({"gates": gates, "analysis": analysis or {}})
    return [str(problem) for problem in caught.value.problems]


def test_defaults_are_those_of_the_design():
    settings = Analysis.from_spec({"gates": [GOOD]}).settings
    assert (settings.alpha, settings.beta, settings.min_samples) == (0.05, 0.05, 100)
    assert (settings.min_duration_s, settings.interval_s) == (0.0, 30.0)


def test_durations_are_written_as_in_kubernetes():
    settings = Analysis.from_spec({"gates": [GOOD], "analysis": {"minDuration": "1h30m", "interval": "500ms"}}).settings
    assert (settings.min_duration_s, settings.interval_s) == (5400.0, 0.5)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"floor": 1.2}, "spec.gates[0].floor: 1.2 is not below 1; write a proportion such as 0.92"),
        ({"floor": 0}, "spec.gates[0].floor: 0 is not above 0; write a proportion such as 0.92"),
        ({"margin": -0.1}, "spec.gates[0].margin: -0.1 is below 0; write a proportion such as 0.02"),
        ({"margin": "2%"}, "spec.gates[0].margin: '2%' is not a number; write a proportion such as 0.02"),
        (
            {"metric": "f7"},
            "spec.gates[0].metric: 'f7' is not known here; use one of accuracy, precision, recall, specificity, f1, "
            "fBeta, balancedAccuracy, rocAuc, prAuc, logLoss, expectedCost, errorRate, latency, predictionShift, "
            "confidenceShift",
        ),
        ({"class": "8"}, "spec.gates[0].class: accuracy takes no class; drop it, or ask for recall or precision"),
        ({"metric": "recall"}, 'spec.gates[0]: recall needs a class (such as class: "8") or average: macro'),
        (
            {"metric": "recall", "class": "8", "average": "macro"},
            "spec.gates[0].average: class and average exclude each other; drop one of them",
        ),
        ({"metric": "recall", "class": 8}, 'spec.gates[0].class: 8 is not a string; write "8" in quotes'),
        (
            {"metric": "rocAuc", "average": "micro"},
            "spec.gates[0].average: rocAuc has no micro average; use one of macro, weighted, or a class",
        ),
        (
            {"threshold": 3},
            "spec.gates[0].threshold: unknown field; known here: name, metric, class, average, floor, ceiling, margin, "
            "beta, costs, bound, mode, labels, counts",
        ),
        ({"ceiling": 0.3}, "spec.gates[0].ceiling: of accuracy more is better; name a floor instead"),
        (
            {"metric": "errorRate", "floor": 0.9},
            "spec.gates[0].floor: of errorRate more is worse; name a ceiling instead",
        ),
        ({"beta": 2}, "spec.gates[0].beta: beta belongs to fBeta; drop it"),
        (
            {"metric": "fBeta", "class": "8"},
            "spec.gates[0].beta: fBeta needs beta, such as 2 (recall counts more) or 0.5 (precision counts more)",
        ),
        (
            {"metric": "expectedCost"},
            "spec.gates[0].costs: expectedCost needs costs, such as {fraud: {ok: 10}, ok: {fraud: 1}}",
        ),
        (
            {"metric": "expectedCost", "costs": {"a": {"b": -1}}},
            "spec.gates[0].costs.a.b: -1 is below 0; write a cost such as 1.5",
        ),
        (
            {"metric": "latency", "bound": "0s"},
            "spec.gates[0].bound: no request takes no time; write a duration such as 250ms",
        ),
        (
            {"metric": "latency", "bound": "fast"},
            "spec.gates[0].bound: 'fast' is not a duration; write 30s, 10m or 1h30m",
        ),
        ({"mode": "Sometimes"}, "spec.gates[0].mode: 'Sometimes' is not known here; use one of Blocking, Advisory"),
        (
            {"metric": "latency", "labels": "audit"},
            "spec.gates[0].labels: latency is not counted from audited labels; drop it",
        ),
        (
            {"metric": "predictionShift", "margin": None},
            "spec.gates[0].margin: predictionShift needs a margin: how far the canary may shift from stable, "
            "such as 0.05",
        ),
        (
            {"counts": {"tp": "x"}},
            "spec.gates[0].counts: these are not the counters that are needed; name {fn, fp, tn, tp}, each a selector",
        ),
        (
            {"metric": "latency", "counts": {"successes": "ok{rev='$revision'}", "trials": "all"}},
            "spec.gates[0].counts.trials: write a PromQL selector with $revision where the revision's name stands",
        ),
        (
            {"margin": None},
            "spec.gates[0]: a gate needs a floor (against a fixed value), a margin (against stable), or both",
        ),
        ({"name": ""}, "spec.gates[0].name: give the gate a name, such as recall-of-8"),
    ],
)
def test_a_wrong_gate_is_told_what_to_write(change, problem):
    assert problems_of([GOOD | change]) == [problem]


@pytest.mark.parametrize(
    ("analysis", "problem"),
    [
        ({"alpha": 0}, "spec.analysis.alpha: 0 is not above 0; write a proportion such as 0.05"),
        ({"beta": 0.7}, "spec.analysis.beta: 0.7 is above 0.5; write a proportion such as 0.05"),
        ({"minSamples": -1}, "spec.analysis.minSamples: -1 is not a count; write a whole number, 0 or more"),
        ({"minDuration": "soon"}, "spec.analysis.minDuration: 'soon' is not a duration; write 30s, 10m or 1h30m"),
        (
            {"count": 5},
            "spec.analysis.count: unknown field; known here: interval, alpha, beta, minSamples, minDuration",
        ),
    ],
)
def test_a_wrong_analysis_is_told_what_to_write(analysis, problem):
    assert problems_of([GOOD], analysis) == [problem]


def test_all_mistakes_are_reported_at_once():
    found = problems_of([GOOD | {"floor": 2}, GOOD | {"metric": "nope"}], {"alpha": 3})
    assert [line.split(":")[0] for line in found] == [
        "spec.gates[0].floor",
        "spec.gates[1].metric",
        "spec.gates[1].name",
        "spec.analysis.alpha",
    ]


@pytest.mark.parametrize("gates", [None, [], {}, "recall"])
def test_no_gates_are_refused(gates):
    assert problems_of(gates)[0].startswith("spec.gates: name at least one gate")
