"""One cloud of a running instance, as its user sees it: where it is, and what can be done to it.

All addresses are those for clients outside the cloud (they stop answering while it is cut off), except `inside`.
Every action is one request to the supervisor and blocks until it is done.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from localclouds import control
from localclouds.names import Component
from localclouds.state import Facts


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """A handle; holds no connection. `component=None` means every component of the cloud."""

    state: Path
    facts: Facts

    @property
    def name(self) -> str:
        """Its name, and its context in the instance's kubeconfig."""
        return self.facts.name

    @property
    def kubeconfig(self) -> Path:
        """A self-contained admin kubeconfig for clients outside."""
        return Path(self.facts.outside.kubeconfig)

    @property
    def api_server(self) -> str:
        """URL of the API server for clients outside."""
        return self.facts.outside.api_server

    @property
    def prometheus_url(self) -> str:
        """URL of Prometheus for clients outside."""
        return self.facts.outside.prometheus

    @property
    def gateway_url(self) -> str:
        """URL of the ingress for clients *of this cloud*: traffic goes on while it is cut off. A hub has none."""
        return self.facts.gateway

    @property
    def inside_kubeconfig(self) -> Path:
        """An admin kubeconfig that also works while the cloud is cut off."""
        return Path(self.facts.kubeconfig)

    @property
    def ca_file(self) -> Path:
        """The CA that signed everything of this cloud, in PEM."""
        return Path(self.facts.ca_file)

    @property
    def audit_log(self) -> Path:
        """The API server's audit log: one JSON event a line."""
        return self.facts.audit_log

    def log(self, component: Component | str) -> Path:
        """The log file of a component."""
        return self.facts.log(Component(component))

    def status(self) -> list[dict[str, Any]]:
        """One row per component: component, phase, pid, since, restarts, last_exit, address, log."""
        rows: list[dict[str, Any]] = control.ask(self.state, {"do": "status"})[self.name]
        return rows

    def pid(self, component: Component | str) -> int | None:
        """The pid a component has now; None between its death and its restart."""
        pid: int | None = next(row["pid"] for row in self.status() if row["component"] == component)
        return pid

    def pause(self, component: Component | str | None = None) -> None:
        """Freeze (SIGSTOP): connections stay open, nothing answers."""
        self._tell("pause", component)

    def resume(self, component: Component | str | None = None) -> None:
        """Let it go on (SIGCONT)."""
        self._tell("resume", component)

    def kill(self, component: Component | str | None = None) -> None:
        """SIGKILL. The supervisor starts it anew after 0.5 s (doubling to 8 s while it keeps dying)."""
        self._tell("kill", component)

    def restart(self, component: Component | str | None = None, within_s: float = 120.0) -> None:
        """Stop, start and wait until it is ready; raises StartFailed."""
        self._tell("restart", component, within_s=within_s)

    def stop(self, component: Component | str | None = None) -> None:
        """Stop, and leave it stopped until `start`."""
        self._tell("stop-component", component)

    def start(self, component: Component | str | None = None) -> None:
        """Start what was stopped; see `await_ready`."""
        self._tell("start-component", component)

    def await_ready(self, component: Component | str | None = None, within_s: float = 120.0) -> None:
        """Block until it does its work; raises StartFailed with what was last seen."""
        self._tell("await-ready", component, within_s=within_s)

    def cut(self, how: Literal["silent", "refused"] = "silent") -> None:
        """Cut the cloud off: API server, Prometheus and outside gateway are out of reach for clients outside.

        The cloud itself goes on: controllers, pods, scrapes, traffic from within. "silent": connections hang;
        "refused": they are reset and refused.
        """
        self._tell("cut", None, how=how)

    def mend(self) -> None:
        """Undo `cut`, and wait until the cloud answers."""
        self._tell("mend", None)

    @contextmanager
    def paused(self, *chosen: Component | str) -> Iterator[None]:
        """An outage as a block: the components (all, if none is named) are frozen inside it."""
        affected = chosen or (None,)
        for component in affected:
            self.pause(component)
        try:
            yield
        finally:
            for component in reversed(affected):
                self.resume(component)

    @contextmanager
    def stopped(self, *chosen: Component | str, within_s: float = 120.0) -> Iterator[None]:
        """An outage as a block: the components (all, if none is named) are stopped before it, awaited after it."""
        affected = chosen or (None,)
        for component in affected:
            self.stop(component)
        try:
            yield
        finally:
            for component in reversed(affected):
                self.start(component)
            for component in reversed(affected):
                self.await_ready(component, within_s)

    @contextmanager
    def cut_off(self, how: Literal["silent", "refused"] = "silent") -> Iterator[None]:
        """An outage as a block: nobody outside reaches the cloud inside it."""
        self.cut(how)
        try:
            yield
        finally:
            self.mend()

    def _tell(self, order: str, component: Component | str | None, **more: Any) -> None:
        chosen = None if component is None else str(component)
        control.ask(self.state, {"do": order, "cloud": self.name, "component": chosen, **more})
