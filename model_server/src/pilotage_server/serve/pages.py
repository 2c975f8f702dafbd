"""What a server says about itself: health, metadata, the model card and the OpenAPI document, all by GET.

Laws: a page is bytes made once, or a look at the lifecycle; an unknown path is told what is there instead.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

import orjson

from pilotage_server.serve.lifecycle import Lifecycle
from pilotage_server.serve.metadata import model_metadata, server_metadata
from pilotage_server.serve.model import ServedModel
from pilotage_server.serve.openapi import openapi_document
from pilotage_server.serve.replies import JSON, Reply, failure

_MARKDOWN: Final = ((b"content-type", b"text/markdown; charset=utf-8"),)
_HTML: Final = (
    (b"content-type", b"text/html; charset=utf-8"),
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; sandbox"),
)
_METHODS: Final = ("GET", "HEAD")


def live(_: Lifecycle) -> Reply:
    """`GET /v2/health/live`: the event loop answers."""
    return 200, JSON, orjson.dumps({"live": True})


def ready(lifecycle: Lifecycle) -> Reply:
    """`GET /v2/health/ready`: 503 before the golden rows have passed, and as soon as draining begins."""
    if lifecycle.is_ready:
        return 200, JSON, orjson.dumps({"live": True, "ready": True})
    return 503, JSON, orjson.dumps({"live": True, "ready": False, "error": f"server is {lifecycle.phase}"})


class Pages:
    """The GET side of the data port of one model."""

    def __init__(self, model: ServedModel, lifecycle: Lifecycle) -> None:
        self._model = model
        self._lifecycle = lifecycle
        base, v1 = f"/v2/models/{model.name}", f"/v1/models/{model.name}"
        versioned = f"{base}/versions/{model.revision}"
        # Made when first asked for: reading YAML takes longer than a model's start should.
        openapi = lru_cache(maxsize=1)(lambda: openapi_document(model))
        server, described = _page(server_metadata()), _page(orjson.dumps(model_metadata(model)))
        self._pages: dict[str, Callable[[], Reply]] = {
            "/": _page(orjson.dumps({"status": "alive"})),  # liveness, as clients of V1 ask for it
            "/v2": server,
            "/v2/": server,
            "/v2/health/live": lambda: live(lifecycle),
            "/v2/health/ready": lambda: ready(lifecycle),
            base: described,
            versioned: described,
            f"{base}/ready": self._model_ready,
            f"{versioned}/ready": self._model_ready,
            f"{base}/card": self._card,
            f"{base}/report": self._report,
            "/v1/models": _page(orjson.dumps({"models": [model.name]})),
            v1: self._model_ready,
            "/openapi.json": lambda: (200, JSON, openapi()),
        }

    def answer(self, method: str, path: str) -> Reply:
        """Answer one request that is no POST endpoint of the data port."""
        page = self._pages.get(path)
        if page is None:
            return failure(404, self._unknown(path))
        if method not in _METHODS:
            return failure(405, f"{path}: {method} is not allowed here; use GET", (b"allow", b"GET, HEAD"))
        return page()

    def _unknown(self, path: str) -> str:
        name, revision = self._model.name, self._model.revision
        parts = path.split("/")
        if path.startswith("/v2/models/") and parts[3] != name:
            return f"model {parts[3][:64]!r} is not served here; this is {name!r}"
        if len(parts) > 5 and parts[4] == "versions" and parts[5] != revision:
            return f"version {parts[5][:64]!r} of {name!r} is not served here; this is {revision!r}"
        return f"{path[:128]}: nothing here; try /v2, /v2/models/{name} or /v2/models/{name}/infer"

    def _model_ready(self) -> Reply:
        if not self._lifecycle.is_ready:
            return ready(self._lifecycle)
        return 200, JSON, orjson.dumps({"name": self._model.name, "ready": True})

    def _card(self) -> Reply:
        card = self._model.bundle.card
        if not card:
            return failure(404, "this bundle holds no model card; train it again with pilotage-model")
        return 200, _MARKDOWN, card

    def _report(self) -> Reply:
        report = self._model.bundle.report
        if not report:
            return failure(404, "this bundle holds no report; train it again with pilotage-model")
        return 200, _HTML, report


def _page(body: bytes) -> Callable[[], Reply]:
    return lambda: (200, JSON, body)
