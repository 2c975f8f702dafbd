"""What is reported about containers and pods. Pure: records in, the status of the API out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import assert_never

from localclouds.kube import Json, parse_time


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Not running, and why."""

    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """Its process runs."""

    started_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminated:
    """Its process ended."""

    exit_code: int
    reason: str
    message: str
    started_at: datetime | None
    finished_at: datetime
    container_id: str


State = Waiting | Running | Terminated


@dataclass(slots=True, kw_only=True)
class Record:
    """What is known of one container. Changed by its container only."""

    name: str
    image: str
    state: State = field(default_factory=lambda: Waiting(reason="ContainerCreating"))
    last: Terminated | None = None
    restarts: int = 0
    is_ready: bool = False
    is_started: bool = False
    image_id: str = ""
    container_id: str = ""

    def status(self) -> Json:
        """The ContainerStatus."""
        return {
            "name": self.name,
            "image": self.image,
            "imageID": self.image_id,
            "containerID": self.container_id,
            "ready": self.is_ready,
            "started": self.is_started,
            "restartCount": self.restarts,
            "state": _state(self.state),
            "lastState": {} if self.last is None else _state(self.last),
        }


def seed(record: Record, known: Json, now: datetime) -> bool:
    """Take over what an earlier agent reported; return whether the container had ended for good.

    A container that ran then is over now: its process died with that agent.
    """
    record.restarts = known.get("restartCount", 0)
    record.image_id = known.get("imageID", "")
    last = known.get("lastState", {}).get("terminated")
    record.last = _terminated(last) if last else None
    match known.get("state", {}):
        case {"running": {"startedAt": started}}:
            record.last = Terminated(
                exit_code=137,
                reason="Error",
                message="the node agent ended, and the container with it",
                started_at=parse_time(started),
                finished_at=now,
                container_id=known.get("containerID", ""),
            )
            record.restarts += 1
        case {"terminated": ended}:
            record.state = _terminated(ended)
            record.container_id = known.get("containerID", "")
            return True
    return False


def pod_status(
    pod: Json,
    *,
    pod_ip: str | None,
    host_ip: str,
    containers: Sequence[Record],
    init_containers: Sequence[Record],
    volumes_made: bool,
    is_over: bool,
    started_at: datetime,
    now: datetime,
) -> Json:
    """The status to report for a pod; `is_over` when its containers will never start again.

    Conditions keep their transition time from the pod's last known status while they do not change.
    """
    initialized = volumes_made and all(_succeeded(record) for record in init_containers)
    containers_ready = not is_over and all(record.is_ready for record in containers)
    conditions = {
        "PodReadyToStartContainers": volumes_made and not is_over,
        "Initialized": initialized or any(isinstance(record.state, Running) for record in containers),
        "ContainersReady": containers_ready,
        "Ready": containers_ready and _gates_open(pod),
    }
    unready = [record.name for record in containers if not record.is_ready]
    status: Json = {
        "phase": _phase(containers, is_over),
        "hostIP": host_ip,
        "hostIPs": [{"ip": host_ip}],
        "startTime": _text(started_at),
        "conditions": [_condition(pod, kind, holds, unready, is_over, now) for kind, holds in conditions.items()],
        "containerStatuses": [record.status() for record in containers],
    }
    if init_containers:
        status["initContainerStatuses"] = [record.status() for record in init_containers]
    if pod_ip:
        status |= {"podIP": pod_ip, "podIPs": [{"ip": pod_ip}]}
    return status


def _phase(containers: Sequence[Record], is_over: bool) -> str:
    states = [record.state for record in containers]
    if is_over:
        return "Succeeded" if all(isinstance(s, Terminated) and s.exit_code == 0 for s in states) else "Failed"
    if any(isinstance(state, Running | Terminated) for state in states):
        return "Running"
    return "Running" if any(record.last is not None for record in containers) else "Pending"


def _gates_open(pod: Json) -> bool:
    gates = {gate["conditionType"] for gate in pod["spec"].get("readinessGates") or ()}
    held = {
        condition["type"]
        for condition in pod.get("status", {}).get("conditions") or ()
        if condition["status"] == "True"
    }
    return gates <= held


def _condition(pod: Json, kind: str, holds: bool, unready: list[str], is_over: bool, now: datetime) -> Json:
    value = "True" if holds else "False"
    # Null, or a strategic merge would keep what was said when the condition was last false.
    condition: Json = {
        "type": kind,
        "status": value,
        "lastTransitionTime": _text(now),
        "reason": None,
        "message": None,
    }
    if kind in ("Ready", "ContainersReady") and not holds:
        if is_over:
            condition["reason"] = "PodCompleted"
        else:
            condition |= {
                "reason": "ContainersNotReady" if unready else "ReadinessGatesNotReady",
                "message": f"containers with unready status: [{' '.join(unready)}]" if unready else None,
            }
    for known in pod.get("status", {}).get("conditions") or ():
        if known["type"] == kind and known["status"] == value and known.get("lastTransitionTime"):
            condition["lastTransitionTime"] = known["lastTransitionTime"]
    return condition


def _succeeded(record: Record) -> bool:
    return isinstance(record.state, Terminated) and record.state.exit_code == 0


def _state(state: State) -> Json:
    match state:
        case Waiting(reason=reason, message=message):
            return {"waiting": {"reason": reason, "message": message}}
        case Running(started_at=started_at):
            return {"running": {"startedAt": _text(started_at)}}
        case Terminated():
            ended: Json = {
                "exitCode": state.exit_code,
                "reason": state.reason,
                "message": state.message,
                "finishedAt": _text(state.finished_at),
                "containerID": state.container_id,
            }
            if state.started_at is not None:
                ended["startedAt"] = _text(state.started_at)
            return {"terminated": ended}
    assert_never(state)


def _terminated(known: Json) -> Terminated:
    started = known.get("startedAt")
    return Terminated(
        exit_code=known["exitCode"],
        reason=known.get("reason", ""),
        message=known.get("message", ""),
        started_at=parse_time(started) if started else None,
        finished_at=parse_time(known["finishedAt"]) if known.get("finishedAt") else datetime.now(UTC),
        container_id=known.get("containerID", ""),
    )


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
