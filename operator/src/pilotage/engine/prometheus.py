"""The transport to the members' Prometheus servers: one question, one body, or an error that says which side to mend.

Address, credential and CA come from the MemberCluster, Secrets from the operator's own namespace; a Service is asked
through the member's API server instead (`engine.proxied`). No redirect is followed (a credential stays with the server
it is for), an answer ends at 8 MiB, and every failure leaves as one of `evidence.errors`, or as NotUsable when the
MemberCluster or its Secrets do not say how to ask. Knows HTTP, not PromQL.
"""

from __future__ import annotations

import base64
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import aiohttp

from pilotage.api.reasons import Reason
from pilotage.api.types import MemberCluster, PrometheusRef, SecretKeyRef
from pilotage.engine.proxied import ApiOf, ask
from pilotage.evidence.errors import Refused, TooLarge, Unreachable
from pilotage.fleet.access import SecretSource, secret_value
from pilotage.fleet.link import NotUsable

MAX_BYTES = 8 * 2**20
CONNECT_S = 3.0
READ_S = 10.0
WORDS = 300
"""How much of an error page is quoted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """How to ask one Prometheus; part of the key under which a session is kept."""

    url: str
    authorization: str
    ca: bytes


class Prometheus:
    """`fetch` for `evidence`. One HTTP session per cluster, renewed when address, credential or CA change."""

    def __init__(
        self, members: Callable[[], Mapping[str, MemberCluster]], secrets: SecretSource, api_of: ApiOf
    ) -> None:
        self._members, self._secrets, self._api_of = members, secrets, api_of
        self._sessions: dict[str, tuple[_Way, aiohttp.ClientSession]] = {}

    async def fetch(self, cluster: str, promql: str, at: float | None) -> bytes:
        """The body of `/api/v1/query`; at None: Prometheus' now. Raises Unreachable, Refused, TooLarge, NotUsable."""
        reference = self._reference(cluster)
        parameters = {"query": promql, "timeout": f"{READ_S:g}s"} | ({} if at is None else {"time": f"{at:.3f}"})
        if reference.service is not None:
            return await ask(self._api_of(cluster), reference.service, parameters, max_bytes=MAX_BYTES)
        return await self._post(cluster, reference, parameters)

    async def _post(self, cluster: str, reference: PrometheusRef, parameters: Mapping[str, str]) -> bytes:
        way = await self._way(reference)
        session = await self._session(cluster, way)
        try:
            async with session.post("api/v1/query", data=parameters, allow_redirects=False) as response:
                body = await _read(response)
        except TimeoutError:
            raise Unreachable(f"{way.url} did not answer within {READ_S:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise Unreachable(f"{way.url}: {error or type(error).__name__}") from None
        # 400, 422 and 503 carry Prometheus' own words as JSON, which `evidence` reads
        if response.status == 200 or body.startswith(b'{"status"'):
            return body
        raise Refused(f"{way.url} answered {response.status}: {body[:WORDS].decode(errors='replace').strip()}")

    async def close(self) -> None:
        """Close every session."""
        for _, session in self._sessions.values():
            await session.close()
        self._sessions.clear()

    def _reference(self, cluster: str) -> PrometheusRef:
        member = self._members().get(cluster)
        if member is None:
            raise Unreachable("there is no MemberCluster of this name any more")
        if member.prometheus is None:
            raise NotUsable(
                Reason.PROMETHEUS_MISSING,
                f"{cluster}: the MemberCluster names no Prometheus; set spec.prometheus.url or spec.prometheus.service",
            )
        return member.prometheus

    async def _way(self, ref: PrometheusRef) -> _Way:
        where = "spec.prometheus"
        credential = await self._secret(ref.auth_secret_ref, "token", f"{where}.authSecretRef")
        ca = await self._secret(ref.ca_secret_ref, "ca.crt", f"{where}.caSecretRef")
        return _Way(url=ref.url.rstrip("/") + "/", authorization=_authorization(credential), ca=ca)

    async def _secret(self, reference: SecretKeyRef | None, default_key: str, field: str) -> bytes:
        """The value referred to, nothing without a reference; NotUsable when Secret or key are missing."""
        if reference is None:
            return b""
        return await secret_value(self._secrets, reference.name, reference.key or default_key, field=field)

    async def _session(self, cluster: str, way: _Way) -> aiohttp.ClientSession:
        known = self._sessions.get(cluster)
        if known is not None and known[0] == way:
            return known[1]
        session = aiohttp.ClientSession(
            base_url=way.url,
            headers={"Authorization": way.authorization} if way.authorization else {},
            connector=aiohttp.TCPConnector(ssl=_tls(way), limit=4),
            timeout=aiohttp.ClientTimeout(total=3 * READ_S, sock_connect=CONNECT_S, sock_read=READ_S),
        )
        self._sessions[cluster] = (way, session)
        if known is not None:
            with suppress(aiohttp.ClientError):
                await known[1].close()
        return session


def _authorization(secret: bytes) -> str:
    """A bearer token, or `user:password` for basic authentication."""
    text = secret.decode(errors="replace").strip()
    if not text:
        return ""
    if ":" in text:
        return "Basic " + base64.b64encode(text.encode()).decode()
    return f"Bearer {text}"


def _tls(way: _Way) -> ssl.SSLContext | bool:
    if not way.ca:
        return True
    try:
        return ssl.create_default_context(cadata=way.ca.decode())
    except (ssl.SSLError, ValueError):
        raise Refused("spec.prometheus.caSecretRef: is no certificate; give the CA in PEM") from None


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The whole body, or TooLarge when it is larger than we take."""
    body = bytearray()
    async for chunk in response.content.iter_chunked(65536):
        body += chunk
        if len(body) > MAX_BYTES:
            raise TooLarge(f"the answer is larger than {MAX_BYTES // 2**20} MiB; too many series match")
    return bytes(body)
