"""`GET /v2/models/<model>/quality`: the collector's exact integers, through any pod.

A pod keeps no such number itself. What the collector said is shown for a second, so that a page that many look at
costs it one answer; when it cannot be reached the page says so rather than showing what was.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

import orjson

from pilotage_server.feedback.endpoint import JSON_HEADERS, Response
from pilotage_server.feedback.link import CollectorLink, CollectorUnavailable

SHOWN_S: Final = 1.0


class QualityPage:
    """The page of one model. Owns its link."""

    def __init__(self, model: str, link: CollectorLink, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._model = model
        self._link = link
        self._monotonic = monotonic
        self._turn = asyncio.Lock()
        self._shown: tuple[float, bytes] = (float("-inf"), b"")

    async def handle(self) -> Response:
        """Status, headers and body; 503 while the collector cannot be reached."""
        async with self._turn:
            at, body = self._shown
            if self._monotonic() - at <= SHOWN_S:
                return 200, JSON_HEADERS, body
            try:
                body = await self._link.quality(self._model)
            except CollectorUnavailable as error:
                text = f"the collector cannot be asked now ({error}); ask again"
                headers = (*JSON_HEADERS, (b"retry-after", str(error.retry_after_s).encode()))
                return 503, headers, orjson.dumps({"error": text})
            self._shown = (self._monotonic(), body)
        return 200, JSON_HEADERS, body

    def close(self) -> None:
        """Drop the connection."""
        self._link.close()
