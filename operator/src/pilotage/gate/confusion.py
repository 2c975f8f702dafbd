"""Every average of a ratio of confusion counts as a smooth function: its value, its gradient, its variance.

Precision, recall, specificity and F-beta of class k are ratios of sums of the same four numbers: the cell (k, k), row
k, column k and all. An average over classes is then a sum of ratios, its gradient a diagonal plus a row plus a column
term, and everything costs as much as one walk over the cells. 0/0 is absent (None), never 0 or 1.
Knows no arm, cluster, test or name of a class. Source: statistics.md §3 (delta method).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pilotage.gate.spec import Average, Metric

Cells = Sequence[float]
"""A square confusion matrix, row (actual) after row; counts or shares of all rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Coefficients of a class's diagonal cell, its row, its column and all cells in one sum."""

    diagonal: float = 0.0
    row: float = 0.0
    column: float = 0.0
    everything: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """``over`` / ``under`` of one class."""

    over: Terms
    under: Terms


_PRECISION: Final = Ratio(over=Terms(diagonal=1), under=Terms(column=1))
_RECALL: Final = Ratio(over=Terms(diagonal=1), under=Terms(row=1))
_SPECIFICITY: Final = Ratio(over=Terms(diagonal=1, row=-1, column=-1, everything=1), under=Terms(row=-1, everything=1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Margins:
    """What of a confusion matrix the ratios are made of."""

    diagonal: tuple[float, ...]
    rows: tuple[float, ...]
    columns: tuple[float, ...]

    @property
    def everything(self) -> float:
        """The sum of all cells."""
        return sum(self.rows)

    def tilted(self, towards_chance: float) -> "Margins":
        """Margins after spreading that share of every row evenly over the columns."""
        size, keep = len(self.rows), 1 - towards_chance
        chance, evenly = towards_chance / size, towards_chance * self.everything / size
        return Margins(
            diagonal=tuple(keep * d + chance * r for d, r in zip(self.diagonal, self.rows, strict=True)),
            rows=self.rows,
            columns=tuple(keep * c + evenly for c in self.columns),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Gradient:
    """d metric / d cell (i, j) = ``rows[i] + columns[j]``, and ``+ diagonal[i]`` where i = j."""

    diagonal: tuple[float, ...]
    rows: tuple[float, ...]
    columns: tuple[float, ...]

    def moments(self, cells: Cells) -> tuple[float, float]:
        """Sum over cells of the gradient and of its square, weighted by the cells."""
        first = second = 0.0
        size = len(self.rows)
        for i, (row, diagonal) in enumerate(zip(self.rows, self.diagonal, strict=True)):
            for j, column in enumerate(self.columns):
                if n := cells[i * size + j]:
                    g = row + column + diagonal if i == j else row + column
                    first += n * g
                    second += n * g * g
        return first, second

    def chance_moments(self, rows: Sequence[float]) -> tuple[float, float]:
        """The same for the matrix of these row sums in which every prediction is a guess."""
        first = second = 0.0
        size = len(self.rows)
        for total, row, column, diagonal in zip(rows, self.rows, self.columns, self.diagonal, strict=True):
            if total:
                hit, plain = row + column, [row + c for c in self.columns]
                first += total / size * (sum(plain) + diagonal)
                second += total / size * (sum(g * g for g in plain) + diagonal * (2 * hit + diagonal))
        return first, second


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfusionMetric:
    """An average of ratios over classes. ``only``: one class; else ``by_support`` or evenly over all of them."""

    ratio: Ratio
    by_support: bool = False
    only: int | None = None

    def value(self, margins: Margins) -> float | None:
        """The metric; None if a ratio that counts is 0/0."""
        total = 0.0
        everything = margins.everything
        for k, weight in self._weights(margins):
            under = _sum(self.ratio.under, margins, k, everything)
            if under <= 0:
                return None
            total += weight * _sum(self.ratio.over, margins, k, everything) / under
        return total

    def gradient(self, margins: Margins) -> Gradient | None:
        """Derivative by every cell; None where the value is."""
        size, everything = len(margins.rows), margins.everything
        value = self.value(margins)
        if value is None or everything <= 0:
            return None
        diagonal, rows, columns, shared = [0.0] * size, [0.0] * size, [0.0] * size, 0.0
        over, under = self.ratio.over, self.ratio.under
        for k, weight in self._weights(margins):
            below = _sum(under, margins, k, everything)
            ratio = _sum(over, margins, k, everything) / below
            scale = weight / below
            diagonal[k] = scale * (over.diagonal - ratio * under.diagonal)
            rows[k] = scale * (over.row - ratio * under.row)
            columns[k] = scale * (over.column - ratio * under.column)
            shared += scale * (over.everything - ratio * under.everything)
            if self.by_support:
                rows[k] += (ratio - value) / everything
        return Gradient(diagonal=tuple(diagonal), rows=tuple(r + shared for r in rows), columns=tuple(columns))

    def _weights(self, margins: Margins) -> list[tuple[int, float]]:
        if self.only is not None:
            return [(self.only, 1.0)]
        if self.by_support:  # a class without a row weighs nothing, whatever its ratio
            return [(k, row / margins.everything) for k, row in enumerate(margins.rows) if row > 0]
        return [(k, 1 / len(margins.rows)) for k in range(len(margins.rows))]


def ratio_of(metric: Metric, beta: float | None) -> Ratio:
    """The ratio behind a metric; F1 is F-beta of 1, balanced accuracy averages recall."""
    match metric:
        case Metric.PRECISION:
            return _PRECISION
        case Metric.RECALL | Metric.BALANCED_ACCURACY:
            return _RECALL
        case Metric.SPECIFICITY:
            return _SPECIFICITY
        case Metric.F1 | Metric.F_BETA:
            square = 1.0 if metric is Metric.F1 or beta is None else beta * beta
            return Ratio(over=Terms(diagonal=1 + square), under=Terms(row=square, column=1))
    raise ValueError(f"{metric}: not a ratio of confusion counts")


def confusion_metric(metric: Metric, average: Average | None, only: int | None, beta: float | None) -> ConfusionMetric:
    """The smooth function of a gate's metric; micro averages are no averages over classes and not made here."""
    return ConfusionMetric(ratio=ratio_of(metric, beta), by_support=average is Average.WEIGHTED, only=only)


def margins_of(cells: Cells, size: int) -> Margins:
    """Diagonal, row sums and column sums of a square matrix."""
    return Margins(
        diagonal=tuple(cells[k * (size + 1)] for k in range(size)),
        rows=tuple(sum(cells[k * size : (k + 1) * size]) for k in range(size)),
        columns=tuple(sum(cells[k::size]) for k in range(size)),
    )


def _sum(terms: Terms, margins: Margins, k: int, everything: float) -> float:
    return (
        terms.diagonal * margins.diagonal[k]
        + terms.row * margins.rows[k]
        + terms.column * margins.columns[k]
        + terms.everything * everything
    )
