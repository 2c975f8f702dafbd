"""kopf's whole part, and the only module that imports it: watch our three kinds, log in, own the signals.

Handlers do nothing but put what they hear into the store: kopf logs and drops what goes wrong in them. No index, timer,
daemon, stateful handler, peering or event posting (each measured harmful, python-operator.md §1.3–1.6), so nothing of
kopf is ever written to an object. `run_kopf` returns when the process is to end.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import kopf

from pilotage.api.names import FINALIZER
from pilotage.hub.kinds import KINDS
from pilotage.hub.store import HubStore
from pilotage.kube import Resource
from pilotage.kube.endpoint import ClientCertificate, Endpoint, Token, TokenFile

TOKEN_LIFE = timedelta(minutes=5)
"""A mounted token is read again after this; kubelets renew it long before it expires."""
EXIT_TIMEOUT_S = 20.0
"""Below the pod's terminationGracePeriodSeconds."""


class EndlessBackoff:
    """Re-iterable on purpose: kopf calls iter() for each request, and a finite list ends the process."""

    def __iter__(self) -> Iterator[float]:
        """1, 2, 4 … 30 s, jittered, for ever."""
        for attempt in itertools.count():
            yield min(30.0, 2.0 ** min(attempt, 5)) * random.uniform(0.5, 1.0)  # noqa: S311


class NoDiffBase(kopf.DiffBaseStorage):
    """Remembers nothing: only stateful handlers would need it, and there are none."""

    def build(self, **_: Any) -> Any:
        """An empty essence."""
        return {}

    def fetch(self, **_: Any) -> None:
        """Nothing is stored."""

    def store(self, **_: Any) -> None:
        """Never called without stateful handlers."""
        raise AssertionError("stateful handlers are not used")


class NoProgress(kopf.ProgressStorage):
    """Remembers nothing either."""

    def fetch(self, **_: Any) -> None:
        """Nothing is stored."""

    def store(self, **_: Any) -> None:
        """Never called without stateful handlers."""
        raise AssertionError("stateful handlers are not used")

    def purge(self, **_: Any) -> None:
        """Nothing to purge."""

    def touch(self, **_: Any) -> None:
        """Nothing to touch."""

    def clear(self, *, essence: Any) -> Any:
        """Nothing to clear."""
        return essence


async def run_kopf(hub: Endpoint, store: HubStore, *, stop: Callable[[], Awaitable[None]]) -> None:
    """Feed the store until SIGTERM or SIGINT. Owns: kopf. `stop` is awaited first, while everything still works."""
    registry = kopf.OperatorRegistry()
    settings = kopf.OperatorSettings()
    configure(settings)
    kopf.on.login(registry=registry)(_login(hub))
    kopf.on.cleanup(registry=registry)(_cleanup(stop))
    for kind in KINDS:
        kopf.on.event(kind.group, kind.version, kind.plural, registry=registry, id=f"observe-{kind.plural}")(
            _observer(store, kind)
        )
    await kopf.operator(registry=registry, settings=settings, clusterwide=True, standalone=True)


def configure(settings: kopf.OperatorSettings) -> None:
    """python-operator.md §1.7, each line with its reason there."""
    settings.peering.standalone = True
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.watching.chunk_size = 500
    settings.watching.inactivity_timeout = 70
    # an int: kopf passes it on as written, and the API server answers 400 to a float
    settings.watching.server_timeout = random.randint(290, 590)  # noqa: S311
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 5
    settings.networking.error_backoffs = EndlessBackoff()
    settings.queueing.idle_timeout = 0.1
    settings.persistence.diffbase_storage = NoDiffBase()
    settings.persistence.progress_storage = NoProgress()
    settings.persistence.finalizer = f"{FINALIZER}-kopf"  # unused by on.event
    settings.process.ultimate_exiting_timeout = EXIT_TIMEOUT_S


def _observer(store: HubStore, kind: Resource) -> Callable[..., Awaitable[None]]:
    async def observe(event: Any, **_: Any) -> None:
        if event["type"] == "DELETED":
            store.remove(kind, event["object"])
        else:
            store.upsert(kind, event["object"], listed=event["type"] is None)

    return observe


def _login(hub: Endpoint) -> Callable[..., Awaitable[kopf.ConnectionInfo]]:
    async def login(**_: Any) -> kopf.ConnectionInfo:
        return connection_info(hub)

    return login


def _cleanup(stop: Callable[[], Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    async def cleanup(**_: Any) -> None:
        await stop()

    return cleanup


def connection_info(hub: Endpoint) -> kopf.ConnectionInfo:
    """The endpoint in kopf's words."""
    match hub.credential:
        case Token(value=value):
            return kopf.ConnectionInfo(server=hub.server, ca_data=hub.ca, token=value)
        case TokenFile(path=path):
            return kopf.ConnectionInfo(
                server=hub.server,
                ca_data=hub.ca,
                token=path.read_text().strip(),
                expiration=datetime.now(UTC) + TOKEN_LIFE,
            )
        case ClientCertificate(certificate=certificate, key=key):
            return kopf.ConnectionInfo(
                server=hub.server, ca_data=hub.ca, certificate_data=certificate, private_key_data=key
            )
