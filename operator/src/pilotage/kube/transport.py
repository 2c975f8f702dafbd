"""One cluster's connection: the official client's configuration, authentication, TLS and pool, and our
deadlines.

Takes an Endpoint, gives parsed JSON. It bounds the calls in flight, sets a deadline on each, reads renewed
tokens, follows no redirect (a credential never leaves the server it is for) and translates every foreign
error. Bodies go in as dicts, because the official client encodes them itself. Knows paths and bytes, no
kinds.
"""

import asyncio
import contextlib
import socket
import tempfile
import time
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import aiohttp
import orjson
from kubernetes.aio import client as official

from pilotage.kube.endpoint import ClientCertificate, Endpoint, Token, TokenFile
from pilotage.kube.errors import Oversized, Unauthorized
from pilotage.kube.translation import RedirectRefused, call_name, error_of_answer, translated

TOKEN_AGE_S = 60.0
"""A token file is read again after this: kubelets renew it long before it expires."""


_CONNECTIONS = 100
"""Watches hold one each; more kinds and calls than that at once wait."""

_TURNS = 10
"""Turns of the loop in which it notices that its sockets have ended; three suffice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one cluster's calls (design.md §11). `total_s` ends answers that drip."""

    in_flight: int = 16
    connect_s: float = 3.0
    read_s: float = 10.0
    total_s: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One finished call, for metrics: HTTP method, path, status (0 without an answer), seconds, Date header."""

    method: str
    path: str
    code: int
    seconds: float
    date: str = ""


Observer = Callable[[Call], None]


class Sockets:
    """Every socket that was opened, so that none outlives its client: a polite TLS goodbye waits 30 s for a server
    that is frozen, where nobody can reach the connection any more.
    """

    def __init__(self) -> None:
        self._open: weakref.WeakSet[socket.socket] = weakref.WeakSet()

    def make(self, address: aiohttp.AddrInfoType) -> socket.socket:
        """Make a socket for an address, as the pool would."""
        made = socket.socket(family=address[0], type=address[1], proto=address[2])
        self._open.add(made)
        return made

    async def cut(self) -> None:
        """End what is still open."""
        for each in [each for each in self._open if each.fileno() >= 0]:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for _ in range(_TURNS):
            if all(each.fileno() < 0 for each in self._open):
                return
            await asyncio.sleep(0)


class Transport:
    """Owns the official client and its connections. Ends with `close`."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        limits: Limits,
        user_agent: str,
        observer: Observer | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._limits = limits
        self._observer = observer
        self._slots = asyncio.Semaphore(limits.in_flight)
        self._token_read = float("-inf")
        self._configuration = _configuration(endpoint)
        self._official = _official_client(self._configuration, endpoint)
        self._official.user_agent = user_agent
        self._sockets = Sockets()
        self._connector = aiohttp.TCPConnector(
            limit=_CONNECTIONS, ssl=self._official.rest_client.ssl_context, socket_factory=self._sockets.make
        )
        self._configuration.client_session_kwargs["connector"] = self._connector
        self._timeout = aiohttp.ClientTimeout(
            total=limits.total_s, sock_connect=limits.connect_s, sock_read=limits.read_s
        )

    async def close(self) -> None:
        """Close every connection, watches too, at once."""
        await self._official.close()
        await self._connector.close()
        await self._sockets.cut()

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        max_bytes: int | None = None,
    ) -> bytes:
        """Return the answer's bytes. Raises the types of `errors`; `Oversized` beyond `max_bytes`."""
        async with self._slots:
            try:
                return await self._once(method, path, query, body, content_type, accept, max_bytes)
            except Unauthorized:
                if not self._renew_token(at_once=True):
                    raise
                return await self._once(method, path, query, body, content_type, accept, max_bytes)

    async def _once(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None,
        content_type: str,
        accept: str,
        max_bytes: int | None,
    ) -> bytes:
        start, code, date = time.monotonic(), 0, ""
        headers = {"Accept": accept, "Content-Type": content_type}
        try:
            async with self._opened(method, path, query, body, headers, self._timeout) as response:
                code, date = response.status, response.headers.get("Date", "")
                payload = await _read(response, call_name(method, path), max_bytes)
                if code >= 300:
                    raise error_of_answer(call_name(method, path), code, response.headers, payload)
                return payload
        finally:
            if self._observer is not None:
                seconds = time.monotonic() - start
                self._observer(Call(method=method, path=path, code=code, seconds=seconds, date=date))

    async def stream(self, path: str, *, query: Mapping[str, str], silence_s: float) -> AsyncGenerator[Any, None]:
        """Yield the JSON documents of a watch, one a line, until the server ends it or is silent too long."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._limits.connect_s, sock_read=silence_s)
        headers = {"Accept": "application/json"}
        async with self._opened("GET", path, query, None, headers, timeout) as response:
            if response.status >= 300:
                payload = await response.read()
                raise error_of_answer(call_name("WATCH", path), response.status, response.headers, payload)
            rest = b""
            async for chunk in response.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    if line:
                        yield orjson.loads(line)

    @asynccontextmanager
    async def _opened(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None,
        headers: dict[str, str],
        deadline: aiohttp.ClientTimeout,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Hold one answer open; whatever fails inside leaves as one of our errors."""
        self._renew_token()
        url = self._endpoint.server + path
        if query:
            url += "?" + urlencode(query, quote_via=quote)
        headers["User-Agent"] = self._official.user_agent
        response: aiohttp.ClientResponse | None = None
        with translated(call_name(method, path)):
            try:
                await self._official.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
                wrapped = await self._official.call_api(method, url, headers, body, _request_timeout=deadline)
                response = wrapped.response
                yield response
            finally:
                if response is not None:
                    _let_go(response)

    def _renew_token(self, *, at_once: bool = False) -> bool:
        """Put the credential into the configuration; tell whether it changed."""
        credential = self._endpoint.credential
        is_fresh = time.monotonic() - self._token_read <= TOKEN_AGE_S
        if not isinstance(credential, TokenFile) or (is_fresh and not at_once):
            return False
        keys = self._configuration.api_key
        try:
            token = f"Bearer {credential.path.read_text().strip()}"
        except OSError as error:
            # while a kubelet swaps the file the last token is still good
            if "BearerToken" in keys:
                return False
            raise Unauthorized(f"{credential.path}: {error.strerror}; the pod needs its token") from error
        self._token_read = time.monotonic()
        has_changed: bool = keys.get("BearerToken") != token
        keys["BearerToken"] = token
        return has_changed


def _configuration(endpoint: Endpoint) -> Any:
    host = urlsplit(endpoint.server).hostname or ""
    is_loopback = host == "localhost" or host.startswith("127.") or host == "::1"
    configuration = official.Configuration(
        host=endpoint.server,
        ca_cert_data=endpoint.ca,
        tls_server_name=endpoint.tls_server_name or None,
        # no pool limit: calls are bounded by `Limits`, and a hundred watches must not starve the probe
        connection_pool_maxsize=0,
        # proxies of the environment are for the outside, as in Go's net/http
        client_session_kwargs={"trust_env": not is_loopback, "middlewares": (_refuse_redirects,)},
    )
    # RFC 5280 extensions that kubeadm's and some clouds' CAs lack, and that only Python >= 3.13 asks for; the
    # chain and the host name are verified all the same
    configuration.disable_strict_ssl_verification = True
    if isinstance(endpoint.credential, Token):
        configuration.api_key["BearerToken"] = f"Bearer {endpoint.credential.value}"
    return configuration


def _official_client(configuration: Any, endpoint: Endpoint) -> Any:
    """Build the official client; a client certificate passes through a private folder, since ssl takes files
    only.
    """
    if not isinstance(endpoint.credential, ClientCertificate):
        return official.ApiClient(configuration)
    with tempfile.TemporaryDirectory(prefix="pilotage-") as folder:
        certificate, key = Path(folder, "tls.crt"), Path(folder, "tls.key")
        certificate.write_text(endpoint.credential.certificate)
        key.write_text(endpoint.credential.key)
        configuration.cert_file, configuration.key_file = str(certificate), str(key)
        try:
            return official.ApiClient(configuration)
        finally:
            configuration.cert_file = configuration.key_file = None


async def _read(response: aiohttp.ClientResponse, call: str, max_bytes: int | None) -> bytes:
    if max_bytes is None:
        return await response.read()
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > max_bytes:
            raise Oversized(f"the answer is larger than {max_bytes // 2**20} MiB", call=call, code=response.status)
    return bytes(body)


def _let_go(response: aiohttp.ClientResponse) -> None:
    """Free what an answer still holds. One that was read to its end has given its connection back already; a watch
    that is left early is cut, since a polite TLS goodbye to a frozen server would take 30 s.
    """
    connection = response.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()
    response.close()


async def _refuse_redirects(
    request: aiohttp.ClientRequest,
    handler: Callable[[aiohttp.ClientRequest], Awaitable[aiohttp.ClientResponse]],
) -> aiohttp.ClientResponse:
    """Hide the target of a redirect, so that it comes out as the plain 3xx that it is."""
    response = await handler(request)
    if response.status in (301, 302, 303, 307, 308):
        status, path = response.status, request.url.path
        response.close()
        raise RedirectRefused(f"answered {status} for {path}")
    return response
