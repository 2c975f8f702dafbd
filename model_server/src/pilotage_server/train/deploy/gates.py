"""Gates that a test set can justify: floors and margins out of its intervals, and the labels each will take.

A floor is the lower end of the interval: below it the model would be worse than the test says it can be. Precision
depends on how frequent classes are; so its floor needs the frequencies of production (declared), under which it is
computed anew, else the gate compares with stable (margin). A margin is half the interval's width, so it asks for no
finer difference than the test set could see, within [0.01, 0.1].
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pilotage_server.train.advice import Advice
from pilotage_server.train.config import ConfigError
from pilotage_server.train.deploy.needs import Stratum, labels_for_mean, labels_to_pass
from pilotage_server.train.evaluate import counts as of

Floats = NDArray[np.float64]
LEAST_MARGIN, MOST_MARGIN = 0.01, 0.1
_DRAWS = 4_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What the rollout brings: the canary's share of traffic, alpha, and production's class frequencies if declared."""

    canary_share: float
    alpha: float
    prevalence: Mapping[str, float] | None
    costs: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedGate:
    """One gate as it stands in the manifest, why, and the canary labels (of any class) it will take to pass."""

    spec: Mapping[str, Any]
    reason: str
    labels: float


def plan_gates(document: Mapping[str, Any], advice: Sequence[Advice], setting: Setting) -> list[PlannedGate]:
    """Turn advice into gates with bounds from a run's document; raises `ConfigError`."""
    test = _Test(document, setting)
    found = []
    for one in advice:
        planned = test.loss(one) if one.metric in ("logLoss", "expectedCost") else test.proportion(one)
        if planned is not None:
            found.append(planned)
    if not found:
        raise ConfigError("manifest: the test rows justify no gate: every advised metric is undefined there")
    return found


class _Test:
    """The test set's counts, in production's class frequencies where they are declared."""

    def __init__(self, document: Mapping[str, Any], setting: Setting) -> None:
        self._classes = list(document["classes"])
        self._metrics = document["metrics"]
        self._setting = setting
        counts = np.array(self._metrics["confusion"], dtype=np.float64)
        self._counts = counts
        self._shares = counts.sum(axis=1) / counts.sum()
        if setting.prevalence is not None:
            self._shares = _prevalence(setting.prevalence, self._classes)
            if (self._shares[counts.sum(axis=1) == 0] > 0).any():
                raise ConfigError("--prevalence: names a class that no test row has")
        rows = of.ratio(counts, counts.sum(axis=1, keepdims=True))
        self._mix: Floats = np.nan_to_num(rows) * self._shares[:, None]

    def proportion(self, advice: Advice) -> PlannedGate | None:
        """A gate on a proportion or an area: floor where the interval allows one, and margin."""
        interval = self._interval(advice)
        if interval is None:
            return None
        value, low, high = interval
        margin = _margin(low, high)
        spec: dict[str, Any] = {"name": gate_name(advice), "metric": advice.metric}
        spec |= {"class": advice.label} if advice.label else {}
        spec |= {"average": advice.average} if advice.average else {}
        needs_mix = advice.metric not in ("recall", "balancedAccuracy", "rocAuc")
        has_floor = not needs_mix or self._setting.prevalence is not None
        floor = math.floor(100 * low) / 100
        labels = 0.0
        if has_floor and 0 < floor < value:
            spec["floor"] = floor
            labels = self._labels(advice, value, floor, against_stable=False)
        spec["margin"] = margin
        labels = max(labels, self._labels(advice, value, -margin, against_stable=True))
        reason = (
            advice.reason if has_floor else f"{advice.reason} (no floor: it would depend on production's class mix)"
        )
        return PlannedGate(spec=spec, reason=reason, labels=labels)

    def loss(self, advice: Advice) -> PlannedGate | None:
        """A gate on a mean loss: margin against stable of half the interval's width."""
        found = self._metrics.get(advice.metric)
        if not found or found["value"] is None:
            return None
        half = (found["high"] - found["low"]) / 2
        margin = float(f"{max(half, 1e-6):.2g}")
        spec: dict[str, Any] = {"name": gate_name(advice), "metric": advice.metric, "margin": margin}
        if advice.metric == "expectedCost":
            spec["costs"] = {actual: dict(row) for actual, row in self._setting.costs.items()}
        variance = (half / 1.96) ** 2 * self._metrics["rows"]  # of one label, out of the interval of the mean
        ratio = (1 - self._setting.canary_share) / self._setting.canary_share
        labels = labels_for_mean(margin, (variance, variance), ratio, alpha=self._setting.alpha)
        return PlannedGate(spec=spec, reason=advice.reason, labels=labels)

    def _interval(self, advice: Advice) -> tuple[float, float, float] | None:
        if advice.metric == "precision" and self._setting.prevalence is not None:
            return self._precision_in_production(advice)
        if advice.label:
            found = self._metrics["perClass"].get(advice.label, {}).get(advice.metric)
        elif advice.average and advice.metric in ("rocAuc", "prAuc"):
            found = self._metrics[advice.metric][advice.average]
        elif advice.average:
            found = self._metrics[advice.average][advice.metric]
        else:
            found = self._metrics[advice.metric]
        if not found or found["value"] is None:
            return None
        return found["value"], found["low"], found["high"]

    def _precision_in_production(self, advice: Advice) -> tuple[float, float, float] | None:
        """Precision where classes are as frequent as declared; the interval draws each actual class anew.

        Draws from the Dirichlet posterior of each row of counts (Jeffreys), so that a cell nobody saw is not certain
        to be empty: at a low prevalence one false positive in a thousand decides.
        """
        rng = np.random.default_rng(0)
        drawn = np.stack([rng.dirichlet(row + 0.5, size=_DRAWS) for row in self._counts], axis=1)
        values = of.precision(drawn * self._shares[:, None])
        here = of.precision(self._mix)
        if advice.label:
            index = self._classes.index(advice.label)
            point, draws = float(here[index]), values[:, index]
        else:
            point, draws = float(of.macro(here)), of.macro(values)
        if math.isnan(point):
            return None
        low, high = np.nanquantile(draws, [0.025, 0.975])
        return point, min(float(low), point), max(float(high), point)

    def _labels(self, advice: Advice, value: float, bound: float, *, against_stable: bool) -> float:
        """Canary labels of any class until the gate passes, if the canary is as the test says and stable is like it."""
        ratio = (1 - self._setting.canary_share) / self._setting.canary_share
        rates = self._strata(advice)
        if rates is None:  # an area: its interval gives the variance of one label
            interval = self._interval(advice)
            assert interval is not None
            variance = ((interval[2] - interval[1]) / 3.92) ** 2 * self._metrics["rows"]
            distance = -bound if against_stable else value - bound
            other = ratio if against_stable else 0.0
            return labels_for_mean(distance, (variance, variance), other, alpha=self._setting.alpha)
        strata = [Stratum(share=share, rate=rate, weight=1 / len(rates)) for share, rate in rates]
        if against_stable:
            strata += [Stratum(share=share * ratio, rate=rate, weight=-1 / len(rates)) for share, rate in rates]
        return labels_to_pass(strata, bound, alpha=self._setting.alpha)

    def _strata(self, advice: Advice) -> list[tuple[float, float]] | None:
        """(share of all labels, rate of success) per class of the metric; None where it is no mean of rates."""
        mix = self._mix
        hits = np.diagonal(mix)
        match advice.metric:
            case "accuracy":
                return [(1.0, float(hits.sum()))]
            case "recall" | "balancedAccuracy":
                whole = mix.sum(axis=1)
            case "precision":
                whole = mix.sum(axis=0)
            case _:
                return None
        chosen = [self._classes.index(advice.label)] if advice.label else range(len(self._classes))
        return [(float(whole[i]), float(hits[i] / whole[i])) for i in chosen if whole[i] > 0]


def _prevalence(declared: Mapping[str, float], classes: Sequence[str]) -> Floats:
    unknown = sorted(set(declared) ^ set(classes))
    if unknown:
        raise ConfigError(f"--prevalence: must name every class once ({', '.join(unknown)} does not fit)")
    shares: Floats = np.array([declared[label] for label in classes], dtype=np.float64)
    if (shares < 0).any() or not 0.99 <= shares.sum() <= 1.01:
        raise ConfigError(f"--prevalence: shares add up to {shares.sum():g}; they must be shares of 1")
    normalised: Floats = shares / shares.sum()
    return normalised


def _margin(low: float, high: float) -> float:
    return round(min(max((high - low) / 2, LEAST_MARGIN), MOST_MARGIN), 3)


def gate_name(advice: Advice) -> str:
    """A name of at most 40 characters the API takes."""
    words = f"{advice.metric}-of-{advice.label}" if advice.label else f"{advice.average}-{advice.metric}".strip("-")
    apart = "".join(f"-{c}" if c.isupper() else c for c in words)
    plain = "".join(c if c.isascii() and c.isalnum() else "-" for c in apart.lower())
    return "-".join(part for part in plain.split("-") if part)[:40].rstrip("-")
