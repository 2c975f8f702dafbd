"""A small TLS server that answers as it is told: for what a real API server does only on its worst day."""

import asyncio
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from pilotage.kube.endpoint import Credential, Endpoint, Token
from support.tls import Authority, a_certificate_authority
from support.virtual_time import until

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where it listens, and whom to trust."""

    url: str
    authority: Authority

    def endpoint(self, credential: Credential | None = None, *, ca: str = "") -> Endpoint:
        return Endpoint(server=self.url, ca=ca or self.authority.pem, credential=credential or Token(value="t"))


@asynccontextmanager
async def serving(answer: Answer, *, certificate_for: str = "127.0.0.1") -> AsyncIterator[Server]:
    """Serve every path with `answer` on a free port of 127.0.0.1."""
    authority = a_certificate_authority()
    before = _watched_sockets()
    runner = web.AppRunner(_application(answer), shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=_context(authority, certificate_for))
        await site.start()
        host, port = runner.addresses[0][:2]
        yield Server(url=f"https://{host}:{port}", authority=authority)
    finally:
        await runner.cleanup()
        # connections whose handshake failed are known to nobody; they end when the other side's goodbye is read
        await until(lambda: _watched_sockets() <= before, within_s=2, step_s=0.001, what="a socket stays open")


def _watched_sockets() -> int:
    loop: Any = asyncio.get_running_loop()
    return len(loop._selector.get_map())


def _application(answer: Answer) -> web.Application:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    return application


def _context(authority: Authority, address: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate, key = authority.issue("server", address=address)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "crt").write_text(certificate)
        Path(folder, "key").write_text(key)
        context.load_cert_chain(Path(folder, "crt"), Path(folder, "key"))
    # clients may show a certificate; who they are is up to the test
    context.load_verify_locations(cadata=authority.pem)
    context.verify_mode = ssl.CERT_OPTIONAL
    return context
