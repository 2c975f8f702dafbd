"""The OpenAPI document of one served model: the page beside this module with the model's names and sizes in it.

The page is written by hand, because the protocol's own document does not validate (paths with `${…}`, no
unversioned ones); tests hold it to the validator and the server to it.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import orjson

from pilotage_server import __version__
from pilotage_server.bundle.manifest import Feature
from pilotage_server.serve.model import ServedModel
from pilotage_server.serve.outputs import OUTPUT_NAMES


def openapi_document(model: ServedModel) -> bytes:
    """`GET /openapi.json`. Takes milliseconds: the caller keeps it."""
    import yaml

    text = files(__package__).joinpath("openapi.yaml").read_text(encoding="utf-8")
    document: dict[str, Any] = yaml.safe_load(text.replace("MODEL", model.name))
    document["info"]["version"] = __version__
    paths, base = document["paths"], f"/v2/models/{model.name}"
    for page in ("", "/ready", "/infer"):
        operations = {
            method: operation | {"operationId": operation["operationId"] + "OfVersion"}
            for method, operation in paths[base + page].items()
        }
        paths[f"{base}/versions/{model.revision}{page}"] = operations
    schemas = document["components"]["schemas"]
    schemas["ClassName"]["enum"] = list(model.labels)
    schemas["OutputName"]["enum"] = list(OUTPUT_NAMES)
    features = model.bundle.manifest.features
    values = {feature.name: _value(feature) for feature in features}
    schemas["Row"] |= {"minItems": len(features), "maxItems": len(features)}
    if any(feature.categories or feature.missing for feature in features):
        schemas["Datatype"]["enum"].append("BYTES")
        # By place a category may also be its code.
        cells = [value if "type" in value else {"anyOf": [value, {"type": "integer"}]} for value in values.values()]
        schemas["Row"] |= {"prefixItems": cells, "items": True}
    schemas["NamedRow"] |= {"required": list(values), "properties": values, "additionalProperties": False}
    return orjson.dumps(document)


def _value(feature: Feature) -> dict[str, Any]:
    """What an object of the older protocol may hold under a feature's name."""
    if feature.takes_unknown:
        return {"type": ["string", "null"]}
    if feature.categories:
        return {"enum": [*feature.categories, None] if feature.missing else list(feature.categories)}
    return {"type": ["number", "null"] if feature.missing else "number"}
