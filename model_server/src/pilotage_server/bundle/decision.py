"""From probabilities to a class: the rule belongs to the manifest, not to the model file.

A model exported to another format may lose its threshold while its probabilities stay equal (skl2onnx 1.20
does that to `TunedThresholdClassifierCV`), so the rule is applied here, in the same way for every backend.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Argmax:
    """The most probable class; the first one in class order on a tie."""

    def decide(self, probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
        """Class indices [n] of probabilities [n, K]."""
        winners: NDArray[np.int64] = np.argmax(probabilities, axis=1)
        return winners


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """Two classes.

    `positive` (a class index) when its probability is at least `value`, else the other one.
    """

    positive: int
    value: float

    def decide(self, probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
        """Class indices [n] of probabilities [n, 2]."""
        positive = probabilities[:, self.positive] >= self.value
        return np.where(positive, self.positive, 1 - self.positive)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeastCost:
    """The class whose expected cost is least; the first one in class order on a tie.

    `costs` [K][K]: what it costs to answer the second class when the first is true.
    """

    costs: tuple[tuple[float, ...], ...]

    def decide(self, probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
        """Class indices [n] of probabilities [n, K]."""
        cheapest: NDArray[np.int64] = np.argmin(probabilities @ np.array(self.costs), axis=1)
        return cheapest


Decision = Argmax | Threshold | LeastCost
