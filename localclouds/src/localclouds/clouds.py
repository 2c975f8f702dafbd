"""An instance of local clouds, as its owner sees it: start, find, stop.

    with Clouds("build/clouds", names=["hub", "aws"]) as clouds:
        clouds["aws"].kubeconfig

The instance lives in a supervisor process that ends when the owner's process does, however that happens;
`detach` makes it stay. `Clouds.attach` finds a running one. Nothing here knows what runs in a cloud.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from localclouds import binaries, control, gatewayapi, procfs
from localclouds.cache import Progress, silent
from localclouds.cloud import Cloud
from localclouds.errors import CloudsError, NotRunning, StartFailed, UnknownName
from localclouds.names import ALL_COMPONENTS, DEFAULT_CLOUDS, HUB, HUB_COMPONENTS, Component
from localclouds.plan import Plan, Wish
from localclouds.process import tail
from localclouds.state import default_state, read_facts

_NAME: Final = re.compile(r"[a-z]([a-z0-9-]{0,30}[a-z0-9])?")
_RESERVED: Final = frozenset({"oci", "lock", "kubeconfig"})
_STOP_WITHIN_S: Final = 30.0

Components = Sequence[Component] | Mapping[str, Sequence[Component]]


class Clouds(Mapping[str, Cloud]):
    """Clouds by name. `components`: for every cloud, or per cloud name; where nothing is said, a cloud has all of them,
    and the one named hub all but a gateway.

    scrape_interval_s: of every Prometheus. progress: takes a line for the user whenever something is done.
    """

    def __init__(
        self,
        state: Path | str | None = None,
        names: Iterable[str] = DEFAULT_CLOUDS,
        *,
        components: Components | None = None,
        scrape_interval_s: float = 1.0,
        progress: Progress = silent,
    ) -> None:
        self.state = Path(state or default_state()).absolute()
        self._wishes = tuple(_wish(name, components, scrape_interval_s) for name in names)
        self._progress = progress
        self._clouds: dict[str, Cloud] = {}
        self._supervisor: subprocess.Popen[str] | None = None

    @classmethod
    def attach(cls, state: Path | str | None = None) -> Clouds:
        """The instance that runs in `state`, whoever started it; raises NotRunning."""
        clouds = cls(state, names=())
        clouds._clouds = clouds._found(control.ask(clouds.state, {"do": "status"}, within_s=10))
        return clouds

    @property
    def kubeconfig(self) -> Path:
        """One admin kubeconfig with a context per cloud, the first cloud's the current one."""
        return self.state / "kubeconfig"

    def start(self) -> Clouds:
        """Build what is missing, start every cloud, return when all components are ready.

        Raises BuildFailed, AlreadyRunning, or StartFailed with the last log lines of what did not start.
        """
        wanted = {component for wish in self._wishes for component in wish.components}
        programs = binaries.ensure(binaries.programs_of(wanted), self._progress)
        crds = gatewayapi.ensure(self._progress) if Component.GATEWAY in wanted else None
        plan = Plan(state=self.state, owner=os.getpid(), wishes=self._wishes, programs=programs, crds=crds)
        self.state.mkdir(parents=True, exist_ok=True)
        with (self.state / "supervisor.log").open("a") as log:
            self._supervisor = subprocess.Popen(
                [sys.executable, "-P", "-m", "localclouds.supervisor"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                # A Ctrl-C in the terminal is the owner's to handle; the supervisor follows its owner.
                start_new_session=True,
            )
        try:
            self._await_ready(self._supervisor, plan)
        except BaseException:
            self.stop()
            raise
        self._clouds = self._found(wish.name for wish in self._wishes)
        return self

    def stop(self) -> None:
        """Take everything down and wait until it is gone. No-op when nothing runs."""
        if self._supervisor is not None:
            _end(self._supervisor)
            self._supervisor = None
        else:
            with suppress(NotRunning):
                procfs.await_end(control.ask(self.state, {"do": "stop"}), _STOP_WITHIN_S)
        self._clouds = {}

    def detach(self) -> None:
        """Let the instance live on when this process ends."""
        control.ask(self.state, {"do": "keep"})
        if self._supervisor is not None and self._supervisor.stdout is not None:
            self._supervisor.stdout.close()

    def wait(self) -> None:
        """Block until the instance this object started is gone (stopped by somebody else, or broken)."""
        if self._supervisor is not None:
            self._supervisor.wait()

    def status(self) -> dict[str, list[dict[str, Any]]]:
        """Rows per component by cloud name, see Cloud.status."""
        rows: dict[str, list[dict[str, Any]]] = control.ask(self.state, {"do": "status"}, within_s=10)
        return rows

    def __getitem__(self, name: str) -> Cloud:
        try:
            return self._clouds[name]
        except KeyError:
            have = ", ".join(self._clouds) or "none; did you start it?"
            raise UnknownName(f"there is no cloud {name} in {self.state}; there are: {have}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._clouds)

    def __len__(self) -> int:
        return len(self._clouds)

    def __enter__(self) -> Clouds:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _found(self, names: Iterable[str]) -> dict[str, Cloud]:
        return {name: Cloud(state=self.state, facts=read_facts(self.state / name)) for name in names}

    def _await_ready(self, supervisor: subprocess.Popen[str], plan: Plan) -> None:
        assert supervisor.stdin is not None, "it was started with pipes"
        assert supervisor.stdout is not None, "it was started with pipes"
        with supervisor.stdin as pipe:
            pipe.write(plan.encode())
        for line in supervisor.stdout:
            event = json.loads(line)
            match event["event"]:
                case "ready":
                    return
                case "failed":
                    control.unpack(event)
                case _:
                    self._progress(event["line"])
        log = self.state / "supervisor.log"
        raise StartFailed(f"the supervisor ended before the clouds were ready; {log}:\n{tail(log, 20)}")


def _wish(name: str, components: Components | None, scrape_interval_s: float) -> Wish:
    if not _NAME.fullmatch(name) or name in _RESERVED:
        raise CloudsError(
            f"cloud name {name!r}: use lower-case letters, digits and dashes, at most 32, such as aws; "
            f"not {', '.join(sorted(_RESERVED))}"
        )
    named = components.get(name) if isinstance(components, Mapping) else components
    chosen = named or (HUB_COMPONENTS if name == HUB else ALL_COMPONENTS)
    missing = {Component.ETCD, Component.API_SERVER} - set(chosen)
    if missing:
        raise CloudsError(f"cloud {name}: components must include {', '.join(sorted(missing))}")
    return Wish(name=name, components=tuple(Component(each) for each in chosen), scrape_interval_s=scrape_interval_s)


def _end(supervisor: subprocess.Popen[str]) -> None:
    """Ask our supervisor to end; if it will not, it is killed, and the kernel takes its children with it."""
    supervisor.terminate()
    try:
        supervisor.wait(_STOP_WITHIN_S)
    except subprocess.TimeoutExpired:
        supervisor.kill()
        supervisor.wait()
    for pipe in (supervisor.stdin, supervisor.stdout):
        if pipe is not None:
            pipe.close()
