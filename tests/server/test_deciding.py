"""From probabilities to what is done: the rule is the manifest's, and so is what is too unsure to act on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pilotage_server.bundle import AnySigner, Bundle, Refused, load, open_source
from pilotage_server.bundle.manifest import Manifest
from pilotage_server.bundle.reading import decode
from pilotage_server.bundle.writing import encode
from pilotage_server.serve.model import Predictions, ServedModel


@pytest.fixture(scope="module")
def bundle(iris: Path) -> Bundle:
    return load(open_source(iris / "bundle"), trust=AnySigner())


def with_abstention(manifest: Manifest, below: float) -> Manifest:
    return replace(manifest, abstain_below=below)


def test_an_unsure_class_is_answered_as_abstain(bundle: Bundle) -> None:
    manifest = with_abstention(bundle.manifest, 0.6)
    model = ServedModel(name="iris", revision="iris-1", bundle=replace(bundle, manifest=manifest))
    probabilities = np.array([[0.7, 0.2, 0.1], [0.5, 0.4, 0.1], [0.2, 0.2, 0.6]])
    predictions = Predictions(predicted=probabilities.argmax(axis=1), probabilities=probabilities)

    assert model.decided(predictions) == ["setosa", "abstain", "virginica"]


def test_the_limit_travels_in_the_manifest_and_is_checked(bundle: Bundle) -> None:
    written = encode(with_abstention(bundle.manifest, 0.6))

    assert decode(written).abstain_below == 0.6
    assert b"abstainBelow" not in encode(bundle.manifest), "bundles without it keep their digest"
    document = json.loads(written)
    document["decision"]["abstainBelow"] = 1.5
    with pytest.raises(Refused, match=r"decision.abstainBelow: 1.5 is outside \[0, 1\]"):
        decode(json.dumps(document).encode())
