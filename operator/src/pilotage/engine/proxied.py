"""Asking a Service of a member through its API server: `services/proxy`, with the credential that leads there anyway.

For a Prometheus that nobody can reach from the hub. One GET, so that `get` on that one Service is all the right it
takes; the API server strips credentials and certificates are its business. Knows HTTP paths, not PromQL.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pilotage.api.types import ProxiedService
from pilotage.evidence.errors import Refused, TooLarge, Unreachable
from pilotage.kube import Api, ApiError, Forbidden, Oversized, Transient, Unavailable

ApiOf = Callable[[str], Api | None]
"""The API of a member that is connected, by name."""

_TOO_MANY = "too many samples"
_ITS_OWN = "HTTP "
"""How the kit begins a message that it made from an answer without a Status: Prometheus' own words follow."""


def path_of(service: ProxiedService) -> str:
    """The proxied `/api/v1/query`. The RBAC name of the Service is `<scheme>:<name>:<port>`, always all three."""
    name = f"{service.scheme}:{service.name}:{service.port}"
    return f"/api/v1/namespaces/{service.namespace}/services/{name}/proxy{service.path}/api/v1/query"


async def ask(api: Api | None, service: ProxiedService, parameters: Mapping[str, str], *, max_bytes: int) -> bytes:
    """The answer's body. Raises Unreachable, Refused, TooLarge."""
    where = f"service {service.namespace}/{service.name}:{service.port}"
    if api is None:
        raise Unreachable(f"{where} is asked through the member's API server, which cannot be reached now")
    try:
        return await api.raw_get(path_of(service), query=parameters, max_bytes=max_bytes)
    except Oversized as error:
        raise TooLarge(f"{where}: {error.message}") from error
    except Forbidden as error:
        remedy = "install chart pilotage-member with prometheusProxy for this service, scheme and port"
        raise Refused(f"{where}: {error.message}; {remedy}") from error
    except ApiError as error:
        if _TOO_MANY in error.message:
            raise TooLarge(f"{where}: {error.message}") from error
        # its own 5xx, with its words, is an answer; the API server's says that nobody is behind the Service
        is_its_own = isinstance(error, Unavailable) and error.message.startswith(_ITS_OWN)
        if isinstance(error, Transient) and not is_its_own:
            raise Unreachable(f"{where}: {error.message}") from error
        raise Refused(f"{where}: {error.message}") from error
