"""The model behind the server: its names, and rows into predictions.

Model and revision come from the operator; a server started by hand takes them from the bundle. Names from a
URL are compared with these and never become labels. Knows no HTTP and no metrics.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pilotage_server.bundle import Bundle, ClassType
from pilotage_server.serve.settings import Pod

ABSTAIN: Final = "abstain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """Class indices [n] and probabilities [n, K] of n rows."""

    predicted: NDArray[np.int64]
    probabilities: NDArray[np.float64]

    def part(self, start: int, end: int) -> Predictions:
        """Give the predictions of rows start … end − 1."""
        return Predictions(predicted=self.predicted[start:end], probabilities=self.probabilities[start:end])

    @property
    def is_finite(self) -> bool:
        """Tell whether every probability is a number.

        A model can overflow on rows far from all it has seen.
        """
        return bool(np.isfinite(self.probabilities).all())


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """A loaded bundle under the names it is served as."""

    name: str
    revision: str
    bundle: Bundle

    @property
    def labels(self) -> tuple[str, ...] | tuple[int, ...]:
        """Classes as they stand in answers, by index."""
        classes = self.bundle.manifest.classes
        return tuple(map(int, classes)) if self.bundle.manifest.class_type is ClassType.INTEGER else classes

    @property
    def label_datatype(self) -> str:
        """Datatype of the `predict` output."""
        return "INT64" if self.bundle.manifest.class_type is ClassType.INTEGER else "BYTES"

    def decided(self, predictions: Predictions) -> list[str]:
        """What to do with each row: its class as text, or `abstain` where the class is less probable than the manifest
        wants.
        """
        classes, least = self.bundle.manifest.classes, self.bundle.manifest.abstain_below
        sure = predictions.probabilities[np.arange(len(predictions.predicted)), predictions.predicted] >= least
        return [
            classes[index] if certain else ABSTAIN
            for index, certain in zip(predictions.predicted.tolist(), sure.tolist(), strict=True)
        ]

    def predict(self, rows: NDArray[np.float64]) -> Predictions:
        """Predict rows [n, F]; the decision is the manifest's."""
        probabilities = self.bundle.predictor.probabilities(rows)
        return Predictions(predicted=self.bundle.manifest.decision.decide(probabilities), probabilities=probabilities)


def name_model(bundle: Bundle, pod: Pod) -> ServedModel:
    """Name a bundle as the operator says, or after itself."""
    manifest = bundle.manifest
    return ServedModel(
        name=pod.model or manifest.name, revision=pod.revision or f"{manifest.name}-{bundle.digest[:10]}", bundle=bundle
    )
