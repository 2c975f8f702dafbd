"""Probes: when a result counts (pure), and how one is made.

Thresholds as in a kubelet: a verdict changes after `failureThreshold` failures or `successThreshold`
successes in a row.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import aiohttp

from localclouds.kube import Json
from localclouds.node.process import StartFailed

Exec = Callable[[list[str], float], Awaitable[tuple[int, str]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A probe as the pod's author wrote it, with Kubernetes' defaults. Times in seconds."""

    handler: Json
    delay_s: float
    period_s: float
    timeout_s: float
    successes: int
    failures: int
    grace_s: float | None

    @classmethod
    def read(cls, spec: Json) -> Probe:
        """Read a probe of a container spec."""
        return cls(
            handler={kind: spec[kind] for kind in ("httpGet", "tcpSocket", "exec", "grpc") if kind in spec},
            delay_s=spec.get("initialDelaySeconds", 0),
            period_s=spec.get("periodSeconds", 10),
            timeout_s=spec.get("timeoutSeconds", 1),
            successes=spec.get("successThreshold", 1),
            failures=spec.get("failureThreshold", 3),
            grace_s=spec.get("terminationGracePeriodSeconds"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Results in a row. `verdict` is None until a threshold is reached for the first time."""

    successes: int = 0
    failures: int = 0
    verdict: bool | None = None

    def after(self, ok: bool, probe: Probe) -> Tally:
        """The tally with one more result."""
        if ok:
            counted = Tally(successes=self.successes + 1, verdict=self.verdict)
            return replace(counted, verdict=True) if counted.successes >= probe.successes else counted
        counted = Tally(failures=self.failures + 1, verdict=self.verdict)
        return replace(counted, verdict=False) if counted.failures >= probe.failures else counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a container's handlers go: the pod's address, the container's named ports, and how to run a
    command inside.
    """

    host: str
    ports: dict[str, int]
    session: aiohttp.ClientSession
    execute: Exec

    def port(self, port: int | str) -> int:
        """A port number from a number or a name. Raises HandlerFailed."""
        if isinstance(port, int):
            return port
        if port not in self.ports:
            raise HandlerFailed(f"the container has no port named {port}")
        return self.ports[port]


class HandlerFailed(Exception):
    """A handler (of a probe or a hook) did not succeed; the text says why."""


async def handle(handler: Json, target: Target, timeout_s: float) -> None:
    """Carry out one handler: httpGet, tcpSocket, exec or sleep. Raises HandlerFailed."""
    try:
        match handler:
            case {"httpGet": request}:
                async with asyncio.timeout(timeout_s):
                    await _http_get(request, target)
            case {"tcpSocket": address}:
                async with asyncio.timeout(timeout_s):
                    host, port = address.get("host") or target.host, target.port(address["port"])
                    _, writer = await asyncio.open_connection(host, port)
                    writer.close()
            case {"exec": command}:
                code, output = await target.execute(command.get("command") or [], timeout_s)
                if code != 0:
                    raise HandlerFailed(f"command exited with {code}: {output}")
            case {"sleep": sleep}:
                await asyncio.sleep(sleep["seconds"])
            case _:
                raise HandlerFailed(f"{', '.join(handler) or 'no handler'}: not known to the local node agent")
    except TimeoutError as error:
        raise HandlerFailed(f"no answer within {timeout_s:g} s") from error
    except (OSError, ValueError, aiohttp.ClientError, StartFailed) as error:
        raise HandlerFailed(str(error) or type(error).__name__) from error


async def _http_get(request: Json, target: Target) -> None:
    scheme = request.get("scheme", "HTTP").lower()
    host = request.get("host") or target.host
    path = request.get("path", "/").removeprefix("/")
    url = f"{scheme}://{host}:{target.port(request['port'])}/{path}"
    headers = {"User-Agent": "kube-probe/1.36", "Accept": "*/*"}
    headers |= {header["name"]: header["value"] for header in request.get("httpHeaders") or ()}
    # A probe asks whether the server answers, so its certificate is not checked: as in a kubelet.
    async with target.session.get(url, headers=headers, ssl=False, allow_redirects=False) as response:
        if not 200 <= response.status < 400:
            body = (await response.content.read(256)).decode(errors="replace").strip()
            raise HandlerFailed(f"HTTP probe failed with statuscode: {response.status} {body}".strip())
