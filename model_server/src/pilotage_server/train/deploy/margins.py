"""Margins to start from while there is data but no model: no finer than such data could ever tell.

Half the 95 % interval that a fifth of the rows (the usual test share) would give for a rate of 90 %, within the bounds
of every margin; for losses, a twentieth of what answering without a model would cost. `manifest` replaces them by what
a test set has shown.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from pilotage_server.train.advice import Advice
from pilotage_server.train.config.types import Costs
from pilotage_server.train.deploy.gates import LEAST_MARGIN, MOST_MARGIN

_TEST_SHARE, _RATE, _LOSS_SHARE = 0.2, 0.9, 0.05


def first_margin(advice: Advice, counts: Mapping[str, int], costs: Costs) -> float:
    """A margin for a gate, in its metric's units."""
    total = sum(counts.values())
    match advice.metric:
        case "expectedCost":
            always = [
                sum(count * costs.get(actual, {}).get(said, 0.0) for actual, count in counts.items()) for said in counts
            ]
            return _two_digits(_LOSS_SHARE * min(always) / total)
        case "logLoss":
            shares = [count / total for count in counts.values() if count]
            return _two_digits(_LOSS_SHARE * -sum(share * math.log(share) for share in shares))
        case _:
            rows = _TEST_SHARE * (counts[advice.label] if advice.label else total)
            half = 1.96 * math.sqrt(_RATE * (1 - _RATE) / max(rows, 1.0))
            return round(min(max(half, LEAST_MARGIN), MOST_MARGIN), 3)


def _two_digits(value: float) -> float:
    return float(f"{max(value, 1e-6):.2g}")
