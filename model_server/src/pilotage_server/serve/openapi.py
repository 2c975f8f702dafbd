"""The OpenAPI document of one served model: the page beside this module with the model's names and sizes in it.

The page is written by hand, because the protocol's own document does not validate (paths with `${…}`, no
unversioned ones); tests hold it to the validator and the server to it.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import orjson

from pilotage_server import __version__
from pilotage_server.serve.infer import OUTPUT_NAMES
from pilotage_server.serve.model import ServedModel


def openapi_document(model: ServedModel) -> bytes:
    """`GET /openapi.json`. Takes milliseconds: the caller keeps it."""
    import yaml

    text = files(__package__).joinpath("openapi.yaml").read_text(encoding="utf-8")
    document: dict[str, Any] = yaml.safe_load(text.replace("MODEL", model.name))
    document["info"]["version"] = __version__
    schemas = document["components"]["schemas"]
    schemas["ClassName"]["enum"] = list(model.labels)
    schemas["OutputName"]["enum"] = list(OUTPUT_NAMES)
    features = [feature.name for feature in model.bundle.manifest.features]
    schemas["Row"] |= {"minItems": len(features), "maxItems": len(features)}
    schemas["NamedRow"] |= {"required": features, "properties": {name: {"type": "number"} for name in features}}
    schemas["NamedRow"]["additionalProperties"] = False
    return orjson.dumps(document)
