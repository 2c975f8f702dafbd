"""The operator as a process, for tests on real control planes: started, killed, frozen, asked.

    with OperatorProcess(hub, folder) as operator:
        operator.await_leading()
        operator.kill()

Its log is JSON lines in `folder`; what it said is part of every failure here. It dies with the test.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

from localclouds import Cloud
from localclouds.procfs import die_with_parent
from support.polling import eventually

NAMESPACE = "pilotage"


class OperatorProcess:
    """One replica; `number` tells replicas apart."""

    def __init__(self, hub: Cloud, folder: Path, *, number: int = 1, **settings: object) -> None:
        self._log = folder / f"operator-{number}-{os.urandom(3).hex()}.log"
        flags = {"namespace": NAMESPACE, "identity": f"replica-{number}", "listen": "127.0.0.1:0", **settings}
        self._command = [sys.executable, "-m", "pilotage", "--kubeconfig", str(hub.kubeconfig)]
        self._command += [f"--{name.replace('_', '-')}={value}" for name, value in flags.items()]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> OperatorProcess:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PILOTAGE_")}
        parent = os.getpid()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, env=environment, preexec_fn=lambda: die_with_parent(parent)
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        if error is not None:
            print(f"--- {self._log.name}\n{self.raw_log()[-4000:]}")  # pytest shows it with the failure

    # ----------------------------------------------------------------------------------------------------- what is done

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "not started"
        return self._process

    def kill(self) -> None:
        """SIGKILL, and wait."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)

    def end(self, within_s: float = 15.0) -> int:
        """SIGTERM; returns the exit code."""
        self.process.terminate()
        return self.process.wait(within_s)

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    # ----------------------------------------------------------------------------------------------------- what is seen

    def said(self, event: str = "") -> list[dict[str, Any]]:
        """The lines of its log, all or those of one event."""
        lines = [line for line in self._log.read_text(errors="replace").splitlines() if line.startswith("{")]
        found = [json.loads(line) for line in lines]
        return [each for each in found if event in ("", each.get("event"))]

    def raw_log(self) -> str:
        return self._log.read_text(errors="replace")

    def page(self, path: str) -> tuple[int, str]:
        """Status and text of one of its pages."""
        listening = eventually(lambda: self.said("web.listening"), within_s=30)
        try:
            with urllib.request.urlopen(f"http://{listening[0]['addresses'][0]}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples with these labels."""
        total = 0.0
        for line in self.page("/metrics")[1].splitlines():
            head, _, value = line.rpartition(" ")
            if head.partition("{")[0] == name and all(f'{key}="{wanted}"' in head for key, wanted in labels.items()):
                total += float(value)
        return total

    def is_leading(self) -> bool:
        return self.process.poll() is None and self.metric("pilotage_leading") == 1.0

    def await_leading(self, within_s: float = 40.0) -> None:
        try:
            eventually(lambda: self.said("operator.leads") or self.process.poll() is not None, within_s=within_s)
        finally:
            if self.process.poll() is not None:
                raise AssertionError(
                    f"the operator has ended with {self.process.returncode}:\n{self.raw_log()[-3000:]}"
                )
