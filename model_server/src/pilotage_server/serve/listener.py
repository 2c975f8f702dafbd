"""One address with an application behind it: accepts connections, and lets them finish."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from typing import Any

from uvicorn import Config
from uvicorn.server import ServerState

from pilotage_server.serve.direct import DirectInfer
from pilotage_server.serve.protocol import RecyclingProtocol
from pilotage_server.serve.settings import Connections


class Listener:
    """One address with an ASGI application behind it; `direct` is what whole infer requests go to instead."""

    def __init__(self, app: Any, rules: Connections, *, direct: DirectInfer | None = None) -> None:
        self._config = Config(
            app,
            interface="asgi3",
            http=RecyclingProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=round(rules.idle_s),
        )
        self._config.load()
        # A line of log for everybody who speaks no HTTP would be a way to fill the disk.
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
        self._state = ServerState()
        self._emptied = asyncio.Event()
        self._emptied.set()
        self._protocol = type(
            "Protocol", (RecyclingProtocol,), {"rules": rules, "emptied": self._emptied, "direct": direct}
        )
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Accept connections; gives the port, which matters when 0 was asked for. Raises OSError."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._make, host, port, backlog=2_048)
        bound: socket.socket = self._server.sockets[0]
        found: int = bound.getsockname()[1]
        return found

    def _make(self) -> asyncio.Protocol:
        made: asyncio.Protocol = self._protocol(config=self._config, server_state=self._state, app_state={})
        return made

    async def stop(self, finish_s: float) -> int:
        """Accept no more, let open requests finish for that long; gives how many were cut off."""
        if self._server is None:
            return 0
        self._server.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(finish_s):
                await self._emptied.wait()
        left = list(self._state.connections)
        for connection in left:
            connection.transport.abort()
        return len(left)
