"""What a running supervisor can be told, one function per order. Knows no sockets and no files."""

from __future__ import annotations

import os
from typing import Any, Protocol

from localclouds.errors import CloudsError, UnknownName
from localclouds.running import READY_WITHIN_S, Cut, RunningCloud


class Instance(Protocol):
    """What orders need of a supervisor."""

    @property
    def clouds(self) -> dict[str, RunningCloud]:
        """The clouds by name."""

    def keep(self) -> None:
        """Live on when the owner ends."""

    def end(self) -> None:
        """Begin to take everything down."""


async def obey(instance: Instance, request: dict[str, Any]) -> Any:
    """Carry out one request and return a JSON value; raises CloudsError with the remedy."""
    match request:
        case {"do": "status"}:
            return {name: status(cloud) for name, cloud in instance.clouds.items()}
        case {"do": "keep"}:
            return instance.keep()
        case {"do": "stop"}:
            instance.end()
            return os.getpid()
        case {"do": str(order), "cloud": str(name)}:
            return await _obey_cloud(_cloud(instance, name), order, request)
        case _:
            raise CloudsError(f"unknown request {request}; the supervisor is of another version, restart the clouds")


def status(cloud: RunningCloud) -> list[dict[str, Any]]:
    """One row per component: phase, pid, restarts, last exit, where it listens, its log."""
    facts = cloud.facts
    listens = {
        "etcd": facts.etcd_address.url,
        "kube-apiserver": facts.api_server,
        "prometheus": facts.prometheus,
        "gateway": facts.gateway,
        "front": facts.outside.api_server,
        "node": facts.pod_cidr,
    }
    rows = []
    for component, process in cloud.processes.items():
        now = process.status
        rows.append(
            {
                "component": component,
                "phase": now.phase,
                "pid": now.pid,
                "since": now.since,
                "restarts": now.restarts,
                "last_exit": now.last_exit,
                "address": listens.get(component, ""),
                "log": str(process.command.log),
            }
        )
    return rows


async def _obey_cloud(cloud: RunningCloud, order: str, request: dict[str, Any]) -> None:
    chosen = cloud.named(request.get("component"))
    within_s = float(request.get("within_s", READY_WITHIN_S))
    match order:
        case "pause":
            cloud.pause(chosen)
        case "resume":
            cloud.resume(chosen)
        case "kill":
            await cloud.kill(chosen)
        case "restart":
            await cloud.restart(chosen, within_s)
        case "stop-component":
            await cloud.stop(chosen)
        case "start-component":
            await cloud.start(chosen)
        case "await-ready":
            await cloud.await_ready(chosen, within_s)
        case "cut":
            await cloud.cut(Cut(request.get("how", Cut.SILENT)))
        case "mend":
            await cloud.mend()
        case _:
            raise CloudsError(f"unknown order {order}; the supervisor is of another version, restart the clouds")


def _cloud(instance: Instance, name: str) -> RunningCloud:
    try:
        return instance.clouds[name]
    except KeyError:
        have = ", ".join(instance.clouds) or "none yet"
        raise UnknownName(f"there is no cloud {name} here; there are: {have}") from None
