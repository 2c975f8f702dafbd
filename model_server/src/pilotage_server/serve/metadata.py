"""What a server and its model say of themselves in the Open Inference Protocol V2. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from pilotage_server import __version__
from pilotage_server.serve.model import ServedModel

EXTENSIONS: Final = ("binary_tensor_data", "feedback", "model_card")


def server_metadata() -> bytes:
    """`GET /v2`."""
    return orjson.dumps({"name": "pilotage-server", "version": __version__, "extensions": EXTENSIONS})


def model_metadata(model: ServedModel) -> dict[str, Any]:
    """`GET /v2/models/<model>`; `parameters` hold texts and numbers only, as the protocol asks."""
    manifest = model.bundle.manifest
    parameters: dict[str, str] = {
        "bundle_version": manifest.version,
        "bundle_digest": f"sha256:{model.bundle.digest}",
        "backend": str(manifest.backend),
        "signed_by": model.bundle.signer,
        "classes": _text(manifest.classes),
        "features": _text([feature.name for feature in manifest.features]),
    }
    categories = {feature.name: feature.categories for feature in manifest.features if feature.categories}
    missing = [feature.name for feature in manifest.features if feature.missing]
    if categories:
        parameters["categories"] = _text(categories)
    unknown = [feature.name for feature in manifest.features if feature.takes_unknown]
    if missing:
        parameters["missing"] = _text(missing)
    if unknown:
        parameters["unknown_is_missing"] = _text(unknown)
    return {
        "name": model.name,
        "versions": [model.revision],
        "platform": f"pilotage_{manifest.backend.value.partition('-')[0]}",
        "inputs": _inputs(model, categories),
        "outputs": [
            {"name": "predict", "datatype": model.label_datatype, "shape": [-1]},
            {"name": "predict_proba", "datatype": "FP64", "shape": [-1, len(manifest.classes)]},
            {"name": "decision", "datatype": "BYTES", "shape": [-1]},
        ],
        "parameters": parameters,
    }


def _inputs(model: ServedModel, categories: Mapping[str, tuple[str, ...]]) -> list[dict[str, Any]]:
    """One matrix of numbers, or a tensor per feature where some are texts."""
    features = model.bundle.manifest.features
    if not categories:
        return [{"name": "input", "datatype": "FP64", "shape": [-1, len(features)]}]
    return [
        {"name": feature.name, "datatype": "BYTES" if feature.categories else "FP64", "shape": [-1, 1]}
        for feature in features
    ]


def _text(value: Any) -> str:
    return orjson.dumps(value).decode()
