"""Reference bins: how each feature was spread in training, as edges and counts that a manifest carries.

Numbers are cut at quantiles of the training rows, so that every bin held a fair share of them; categories, which stand
as their codes, have a bin each, rare neighbours one together. Where training had gaps they have a bin of their own, so
that a change of their share shows. Read by servers, which count what they are asked in the same bins. Features without
two bins (constants) have none. Knows neither files nor HTTP.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import pairwise
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_FEATURES: Final = 20
"""Features a pod counts; a manifest may bring bins of more, the first ones are counted."""
MAX_BINS: Final = 12
QUANTILES: Final = 10
GAPS: Final = -sys.float_info.max
"""First edge of a feature with gaps: below it is no number, so that NaN, which no edge is below, is alone there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureBins:
    """One feature's bins: `edges` ascending, `counts` one more than edges, rows of the training split in each.

    Bin b holds values in [edges[b−1], edges[b]); the first and the last are open. A missing value is in the first.
    `categories`: the texts that values are codes of, empty for numbers.
    """

    feature: str
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    categories: tuple[str, ...] = ()

    @property
    def edges_digest(self) -> str:
        """Eight hexadecimal digits that name these bins: counts of two revisions compare only in the same ones.

        Codes of other texts are other bins, though their edges be equal.
        """
        named = (self.edges, self.categories) if self.categories else self.edges
        return sha256(repr(named).encode()).hexdigest()[:8]

    def count(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        """How many of the values [n] each bin holds; missing ones only where training had gaps."""
        import numpy as np

        missing = np.isnan(values)
        places = np.searchsorted(self.edges, np.where(missing, -np.inf, values), side="right")
        return np.bincount(places if self.edges[0] == GAPS else places[~missing], minlength=len(self.counts))


def reference_bins(
    rows: NDArray[np.float64], features: Sequence[str], categories: Sequence[tuple[str, ...]] = ()
) -> tuple[FeatureBins, ...]:
    """Bins of every feature that varies; rows: [n, F] of the training split, NaN where a value is missing.

    `categories`: the texts of each feature, none for numbers; empty where all are numbers. The evenest spread comes
    first: among pixels of a margin that is nearly always blank, what is counted should be the features that can show a
    change.
    """
    import numpy as np

    found: list[tuple[float, int, FeatureBins]] = []
    for column, name in enumerate(features):
        values = rows[:, column]
        known = values[~np.isnan(values)]
        if not len(known):
            continue
        has_gaps = len(known) < len(values)
        texts = categories[column] if categories else ()
        edges = _between_categories(known, len(texts), MAX_BINS - has_gaps) if texts else _quantiles(known)
        if has_gaps:
            edges = np.concatenate([[GAPS], edges])
        if not len(edges):
            continue
        empty = FeatureBins(feature=name, edges=tuple(edges.tolist()), counts=(0,) * (len(edges) + 1), categories=texts)
        counts = empty.count(values)
        share = counts[counts > 0] / len(values)
        bins = replace(empty, counts=tuple(counts.tolist()))
        found.append((float((share * np.log(share)).sum()), column, bins))
    return tuple(bins for _, _, bins in sorted(found, key=lambda one: one[:2]))


def _quantiles(known: NDArray[np.float64]) -> NDArray[np.float64]:
    """Edges between numbers; none where they are all the same."""
    import numpy as np

    cuts = np.unique(np.quantile(known, np.arange(1, QUANTILES) / QUANTILES))
    edges = cuts[cuts > known.min()]
    # Nearly constant: what differs at all is the other bin.
    return edges if len(edges) else np.unique(known)[1:2]


def _between_categories(known: NDArray[np.float64], codes: int, most: int) -> NDArray[np.float64]:
    """Edges between codes 0 … codes − 1: the rarest neighbours share a bin until there are at most `most`."""
    import numpy as np

    counts = np.bincount(known.astype(np.int64), minlength=codes).tolist()
    starts = list(range(codes))
    while len(starts) > most:
        joint = [one + other for one, other in pairwise(counts)]
        at = joint.index(min(joint))
        counts[at : at + 2] = [joint[at]]
        del starts[at + 1]
    return np.array(starts[1:], dtype=np.float64)
