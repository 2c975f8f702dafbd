"""The part of a kubelet's API that `kubectl logs` needs, for the API server only.

Serves HTTPS with the node's certificate and asks for a client certificate of the cloud's own CA. A
container's log is one file with everything its runs wrote; `--previous` and `--timestamps` cannot be answered
from it and are refused.
"""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

from aiohttp import web

from localclouds.state import Facts

_CHUNK = 64 * 1024
_POLL_S = 0.3


class Logs:
    """Serves the logs of one cloud's pods."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        app = web.Application()
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._answer)
        app.router.add_get("/healthz", _healthy)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)

    async def start(self) -> None:
        """Listen at the node's address. Raises OSError."""
        identity = self._facts.identities["node"]
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self._facts.ca_file)
        context.load_cert_chain(identity.cert_file, identity.key_file)
        context.verify_mode = ssl.CERT_REQUIRED
        await self._runner.setup()
        address = self._facts.node_address
        await web.TCPSite(self._runner, address.host, address.port, ssl_context=context).start()

    async def stop(self) -> None:
        """Close every connection."""
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        if query.get("previous") == "true" or query.get("timestamps") == "true":
            raise web.HTTPBadRequest(text="local clouds keep one log per container, without times: drop the flag")
        pod = f"{request.match_info['namespace']}_{request.match_info['pod']}"
        path = self._facts.path / "pods" / pod / f"{request.match_info['container']}.log"
        if not path.is_file():
            raise web.HTTPNotFound(text=f"{request.match_info['container']}: no log yet")
        tail = int(query.get("tailLines", -1))
        limit = int(query["limitBytes"]) if "limitBytes" in query else None
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        await _send(response, path, tail, limit, query.get("follow") == "true")
        return response


async def _send(response: web.StreamResponse, path: Path, tail: int, limit: int | None, follow: bool) -> None:
    with path.open("rb") as log:
        if tail >= 0:
            log.seek(_start_of_tail(log.read(), tail))
        left = limit
        while left is None or left > 0:
            part = log.read(_CHUNK if left is None else min(_CHUNK, left))
            if part:
                await response.write(part)
                left = None if left is None else left - len(part)
            elif follow:
                await asyncio.sleep(_POLL_S)
            else:
                return


def _start_of_tail(text: bytes, lines: int) -> int:
    position = len(text)
    if lines == 0:
        return position
    if text.endswith(b"\n"):
        position -= 1
    for _ in range(lines):
        position = text.rfind(b"\n", 0, position)
        if position < 0:
            return 0
    return position + 1


async def _healthy(_request: web.Request) -> web.Response:
    return web.Response(text="ok")
