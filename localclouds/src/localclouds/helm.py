"""Helm for clouds: install, upgrade, uninstall and render a chart, as `helm` would.

Uses `helm` from PATH, else the Helm SDK of the hash-pinned wheel helm-python-sdk, in a process of its own: its
Go runtime must not live in ours, which forks. Both are real Helm; the texts of their errors are passed on. Knows
no cloud but a kubeconfig and a context.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from localclouds.errors import HelmFailed

Values = Mapping[str, Any]
_SLACK_S: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Helm:
    """Helm with a kubeconfig (and a context of it); `template` needs neither. Every method raises HelmFailed."""

    kubeconfig: Path | None = None
    context: str | None = None

    def install(
        self,
        release: str,
        chart: Path,
        *,
        namespace: str,
        values: Values | None = None,
        wait: bool = True,
        timeout_s: int = 120,
    ) -> None:
        """Install a release that does not exist yet, making the namespace; `wait`: until its objects are ready."""
        self._change("install", release, chart, namespace, values, wait, timeout_s)

    def upgrade(
        self,
        release: str,
        chart: Path,
        *,
        namespace: str,
        values: Values | None = None,
        wait: bool = True,
        timeout_s: int = 120,
    ) -> None:
        """Upgrade a release that exists; values not given fall back to the chart's."""
        self._change("upgrade", release, chart, namespace, values, wait, timeout_s)

    def uninstall(self, release: str, *, namespace: str, timeout_s: int = 120) -> None:
        """Remove a release and wait until its objects are gone."""
        if program := shutil.which("helm"):
            words = ["uninstall", release, "--wait", f"--timeout={timeout_s}s"]
            self._run([program, *words, *self._where(namespace)], "", timeout_s)
            return
        self._sdk({"do": "uninstall", "release": release, "timeout_s": timeout_s}, namespace, timeout_s)

    def template(self, release: str, chart: Path, *, namespace: str, values: Values | None = None) -> str:
        """The chart's manifests as one YAML text, its values checked against its schema. Talks to no cluster."""
        if program := shutil.which("helm"):
            words = [program, "template", release, str(chart), f"--namespace={namespace}", "--values=-"]
            return self._run(words, json.dumps(dict(values or {})), _SLACK_S)
        order = {"do": "template", "release": release, "chart": str(chart), "values": dict(values or {})}
        return self._sdk(order, namespace, _SLACK_S)

    def _change(
        self,
        verb: str,
        release: str,
        chart: Path,
        namespace: str,
        values: Values | None,
        wait: bool,
        timeout_s: int,
    ) -> None:
        if program := shutil.which("helm"):
            words = [program, verb, release, str(chart), "--values=-", f"--timeout={timeout_s}s"]
            words += ["--wait"] if wait else []
            words += ["--create-namespace"] if verb == "install" else []
            self._run([*words, *self._where(namespace)], json.dumps(dict(values or {})), timeout_s)
            return
        order = {
            "do": verb,
            "release": release,
            "chart": str(chart),
            "values": dict(values or {}),
            "wait": wait,
            "timeout_s": timeout_s,
        }
        self._sdk(order, namespace, timeout_s)

    def _where(self, namespace: str) -> list[str]:
        words = [f"--namespace={namespace}"]
        words += [f"--kubeconfig={self.kubeconfig}"] if self.kubeconfig else []
        return words + ([f"--kube-context={self.context}"] if self.context else [])

    def _sdk(self, order: dict[str, Any], namespace: str, timeout_s: float) -> str:
        if find_spec("helm_python") is None:
            raise HelmFailed(
                "there is neither helm on PATH nor helm-python-sdk in this Python; install one of them, "
                "the latter with `pip install --requirement requirements/tools.txt`"
            )
        kubeconfig = str(self.kubeconfig) if self.kubeconfig else None
        order = {**order, "namespace": namespace, "kubeconfig": kubeconfig, "context": self.context}
        words = [sys.executable, "-P", "-m", "localclouds.helm_worker"]
        return self._run(words, json.dumps(order), timeout_s)

    def _run(self, words: list[str], stdin: str, timeout_s: float) -> str:
        with tempfile.TemporaryFile("w+") as errors:  # not a pipe: Helm's threads may outlive their last word
            try:
                done = subprocess.run(
                    words,
                    input=stdin,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    text=True,
                    timeout=timeout_s + _SLACK_S,
                )
            except subprocess.TimeoutExpired:
                raise HelmFailed(f"helm did not end {_SLACK_S:.0f} s after its timeout of {timeout_s} s") from None
            if done.returncode:
                errors.seek(0)
                raise HelmFailed(f"helm: {errors.read().strip()[-4000:]}")
        return done.stdout
