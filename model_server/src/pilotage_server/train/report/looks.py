"""The report's view into the model: what it uses, how its answer moves, coefficients where it has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from pilotage_server.train.report.svg import Axes, Bar, Series, interval_chart, line_chart
from pilotage_server.train.report.tables import table
from pilotage_server.train.report.words import focus

_MOST_LINES = 8
_MOST = 12


def interpretation(document: Mapping[str, Any]) -> str:
    """Importance, dependence and coefficients, each with what it does not mean."""
    found, classes = document["interpretation"], document["classes"]
    moves = _dependences(found, classes, focus(document))
    return "".join([_importance(found), _shapley(found), moves, _coefficients(found, classes)])


def _importance(found: Mapping[str, Any]) -> str:
    top = [one for one in found["importance"] if one["mean"] > 0][:_MOST]
    bars = [
        Bar(
            label=one["feature"],
            value=one["mean"],
            low=max(0.0, one["mean"] - 2 * one["deviation"]),
            high=one["mean"] + 2 * one["deviation"],
            note=f"+{one['mean']:.3f}",
        )
        for one in top
    ]
    if not bars:
        return ""
    return (
        f"{interval_chart('Permutation importance: rise of log loss when a column is shuffled', bars, low=0.0)}"
        "<p class=soft>It shows what the model uses, not what causes what. Columns that tell the same share the "
        "credit.</p>"
    )


def _shapley(found: Mapping[str, Any]) -> str:
    bars = [
        Bar(label=one["feature"], value=one["mean"], low=0.0, high=one["mean"], note=f"{one['mean']:.3f}")
        for one in found.get("shap", [])[:_MOST]
    ]
    if not bars:
        return ""
    chart = interval_chart("Mean absolute SHAP value", bars, low=0.0, is_filled=True)
    return f"{chart}<p class=soft>By how much of a probability a feature moves the answer, on average.</p>"


def _dependences(found: Mapping[str, Any], classes: Sequence[str], one_class: str | None) -> str:
    charts = [_dependence(one, classes, one_class) for one in found["partialDependence"] if "categories" not in one]
    tables = [_by_category(one, classes) for one in found["partialDependence"] if "categories" in one]
    if not charts and not tables:
        return ""
    return (
        f'<h3>How its answer moves</h3><div class="pair">{"".join(charts)}</div>{"".join(tables)}'
        "<p class=soft>Every row is asked again with other values of one column (partial dependence): the mean in "
        "colour, single rows in grey. Combinations that do not occur are asked, too.</p>"
    )


def _dependence(one: Mapping[str, Any], classes: Sequence[str], one_class: str | None) -> str:
    columns = list(range(min(len(classes), _MOST_LINES))) if one_class is None else [classes.index(one_class)]
    means = [
        Series(label=classes[c], points=[(v, p[c]) for v, p in zip(one["values"], one["probabilities"], strict=True)])
        for c in columns
    ]
    rows = one.get("individual", ())  # of the second class
    if columns == [0]:
        rows = [[1 - value for value in row] for row in rows]
    single = [Series(label="", points=list(zip(one["values"], row, strict=True))) for row in rows]
    box = (min(one["values"]), max(one["values"]), 0.0, 1.0)
    axes = Axes(x=one["feature"], y="probability", box=box)
    return line_chart(f"Probability by {one['feature']}", [*means, *single], axes)


def _by_category(one: Mapping[str, Any], classes: Sequence[str]) -> str:
    rows = [
        [escape(name), *(f"{value:.3f}" for value in probabilities[:_MOST_LINES])]
        for name, probabilities in zip(one["categories"], one["probabilities"], strict=True)
    ]
    head = [escape(one["feature"]), *map(escape, classes[:_MOST_LINES])]
    return table(f"Mean probability by {one['feature']}", head, rows)


def _coefficients(found: Mapping[str, Any], classes: Sequence[str]) -> str:
    strongest = sorted(found["coefficients"], key=lambda one: -abs(one["coefficient"]))[:_MOST]
    if not strongest:
        return ""
    rows = [
        [escape(one["feature"]), escape(one["class"]), f"{one['coefficient']:+.3f}", f"× {one['oddsRatio']:.2f}"]
        for one in strongest
    ]
    head = ["feature", "towards", "coefficient", "odds"]
    against = "the other class" if len(classes) == 2 else "the geometric mean of all classes"
    return (
        f"<h3>Strongest coefficients</h3>{table('What one step more of a feature does to the odds', head, rows)}"
        f"<p class=soft>A step is one standard deviation where the model scales, else one unit; odds are against "
        f"{against}, all else equal. Shrinkage pulls them towards 1, so they have no intervals here.</p>"
    )
