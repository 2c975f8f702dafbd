"""Whether a component does its work, as a value: Ready, or NotYet with what was seen.

A probe never raises and never waits long; whoever wants to wait asks again. Knows no processes.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final, assert_never
from urllib.parse import urlsplit

import aiohttp

from localclouds.kube import Api, ApiFailure, is_ready
from localclouds.names import Component
from localclouds.state import Facts

_PROBE_TIMEOUT: Final = aiohttp.ClientTimeout(total=2)


@dataclass(frozen=True, slots=True)
class Ready:
    """The component does its work."""


@dataclass(frozen=True, slots=True)
class NotYet:
    """It does not (yet); `seen` says what the probe got instead."""

    seen: str


Readiness = Ready | NotYet


async def probe(component: Component, facts: Facts, http: aiohttp.ClientSession, api: Api) -> Readiness:
    """Ask the component once, at its inside address."""
    match component:
        case Component.ETCD:
            return await _http(http, f"{facts.etcd_address.url}/health", '"health":"true"')
        case Component.API_SERVER:
            # Says ok only after the default roles are there, without which the controller manager is refused.
            return await _http(http, f"{facts.api_server}/readyz", "ok")
        case Component.CONTROLLER_MANAGER:
            # It has no port of its own; every namespace gets its ServiceAccount from it, and pods need one.
            return await _api_object(api, "/api/v1/namespaces/default/serviceaccounts/default")
        case Component.SCHEDULER:
            return Ready()
        case Component.PROMETHEUS:
            return await _http(http, f"{facts.prometheus}/-/ready", "")
        case Component.NODE:
            return await _node(api, facts.node_name)
        case Component.GATEWAY:
            return await _listens(facts.gateway)
        case Component.FRONT:
            return await _listens(facts.outside.api_server)
        case _:
            assert_never(component)


async def _http(http: aiohttp.ClientSession, url: str, expected: str) -> Readiness:
    try:
        async with http.get(url, timeout=_PROBE_TIMEOUT) as response:
            text = await response.text()
    except (aiohttp.ClientError, TimeoutError) as error:
        return NotYet(f"{url}: {str(error) or type(error).__name__}")
    if response.status != 200 or expected not in text:
        return NotYet(f"{url}: {response.status} {text[:200]}")
    return Ready()


async def _api_object(api: Api, path: str) -> Readiness:
    try:
        async with asyncio.timeout(2):
            await api.get(path)
    except (ApiFailure, TimeoutError) as error:
        return NotYet(f"GET {path}: {str(error) or type(error).__name__}")
    return Ready()


async def _node(api: Api, name: str) -> Readiness:
    path = f"/api/v1/nodes/{name}"
    try:
        async with asyncio.timeout(2):
            node = await api.get(path)
    except (ApiFailure, TimeoutError) as error:
        return NotYet(f"GET {path}: {str(error) or type(error).__name__}")
    return Ready() if is_ready(node) else NotYet(f"node {name}: condition Ready is not True")


async def _listens(url: str) -> Readiness:
    address = urlsplit(url)
    try:
        async with asyncio.timeout(2):
            _, writer = await asyncio.open_connection(address.hostname, address.port)
    except (OSError, TimeoutError) as error:
        return NotYet(f"connect {address.netloc}: {str(error) or type(error).__name__}")
    writer.transport.abort()
    return Ready()
