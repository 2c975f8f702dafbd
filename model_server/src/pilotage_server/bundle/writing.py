"""The manifest as canonical JSON: sorted keys, no spaces, UTF-8, shortest float text.

Equal manifests are equal bytes, and the signature is over these bytes.
"""

from __future__ import annotations

import json
from typing import Any

from pilotage_server.bundle.decision import Argmax, LeastCost, Threshold
from pilotage_server.bundle.manifest import FORMAT, Feature, Manifest


def canonical(value: Any) -> bytes:
    """Canonical JSON; raises ValueError on NaN and infinities."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def encode(manifest: Manifest) -> bytes:
    """Manifest as canonical JSON."""
    match manifest.decision:
        case Argmax():
            decision: dict[str, Any] = {"rule": "argmax"}
        case Threshold(positive=positive, value=value):
            decision = {"rule": "threshold", "class": manifest.classes[positive], "value": value}
        case LeastCost(costs=costs):
            decision = {"rule": "least-cost", "costs": costs}
    if manifest.abstain_below:
        decision["abstainBelow"] = manifest.abstain_below
    return canonical(
        {
            "format": FORMAT,
            "task": "classification",
            "name": manifest.name,
            "version": manifest.version,
            "description": manifest.description,
            "classes": list(manifest.classes),
            "classType": str(manifest.class_type),
            "features": [_feature(feature) for feature in manifest.features],
            "backend": {"kind": str(manifest.backend), "file": manifest.model_file},
            "decision": decision,
            "golden": {
                "rows": manifest.golden.rows,
                "probabilities": manifest.golden.probabilities,
                "tolerance": manifest.golden.tolerance,
            },
            "files": [{"name": f.name, "size": f.size, "sha256": f.sha256} for f in manifest.files],
            "versions": dict(manifest.versions),
            "data": dict(manifest.data),
            "training": dict(manifest.training),
            "baseline": dict(manifest.baseline),
            **_optional(manifest),
        }
    )


def _feature(feature: Feature) -> dict[str, Any]:
    found: dict[str, Any] = {"name": feature.name, "low": feature.low, "high": feature.high}
    if feature.categories:
        found["categories"] = list(feature.categories)
    if feature.missing:
        found["missing"] = True
    if feature.takes_unknown:
        found["unknown"] = "missing"
    return found


def _optional(manifest: Manifest) -> dict[str, Any]:
    """What a manifest may leave out: written only where there is something to say."""
    found: dict[str, Any] = {}
    if manifest.reference:
        found["reference"] = [
            {"feature": bins.feature, "edges": bins.edges, "counts": bins.counts} for bins in manifest.reference
        ]
    if manifest.slices:
        found["slices"] = [{"name": one.name, "values": list(one.values)} for one in manifest.slices]
    return found
