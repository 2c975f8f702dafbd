"""Reference bins: how each feature was spread in training, as edges and counts that a manifest carries.

Made from quantiles of the training rows, so that every bin held a fair share of them; read by servers, which count
what they are asked in the same bins. Features without two bins (constants) have none. Knows neither files nor HTTP.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_FEATURES: Final = 20
"""Features a pod counts; a manifest may bring bins of more, the first ones are counted."""
MAX_BINS: Final = 12
QUANTILES: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureBins:
    """One feature's bins: `edges` ascending, `counts` one more than edges, rows of the training split in each.

    Bin b holds values in [edges[b−1], edges[b]); the first and the last are open.
    """

    feature: str
    edges: tuple[float, ...]
    counts: tuple[int, ...]

    @property
    def edges_digest(self) -> str:
        """Eight hexadecimal digits that name these edges: counts of two revisions compare only in the same bins."""
        return sha256(repr(self.edges).encode()).hexdigest()[:8]


def reference_bins(rows: NDArray[np.float64], features: tuple[str, ...]) -> tuple[FeatureBins, ...]:
    """Bins of every feature that varies; rows: [n, F] of the training split.

    The evenest spread comes first: among pixels of a margin that is nearly always blank, what is counted should be
    the features that can show a change.
    """
    import numpy as np

    found: list[tuple[float, int, FeatureBins]] = []
    for column, name in enumerate(features):
        values = rows[:, column]
        cuts = np.unique(np.quantile(values, np.arange(1, QUANTILES) / QUANTILES))
        edges = cuts[cuts > values.min()]
        if not len(edges):
            edges = np.unique(values)[1:2]  # nearly constant: what differs at all is the other bin
        if not len(edges):
            continue
        counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
        share = counts[counts > 0] / len(values)
        bins = FeatureBins(feature=name, edges=tuple(map(float, edges)), counts=tuple(map(int, counts)))
        found.append((float((share * np.log(share)).sum()), column, bins))
    return tuple(bins for _, _, bins in sorted(found, key=lambda one: one[:2]))
