"""The commands as a user runs them, against a real API server: exit codes, words, what is written, no tracebacks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from localclouds import Cloud
from support.clouds import apply, get, kubectl

BIN = Path(sys.executable).parent
ROLLOUT = {
    "revision": "digits-aaaaaaaaaa",
    "attempt": 1,
    "planHash": "p",
    "startedAt": "2027-01-08T08:00:00Z",
    "waves": [
        {
            "name": "first",
            "clusters": ["aws"],
            "startedAt": "2027-01-08T08:00:00Z",
            "steps": [{"weight": 10, "startedAt": "2027-01-08T08:00:00Z"}],
        }
    ],
}


def run(hub: Cloud | None, *arguments: str, program: str = "pilotage") -> subprocess.CompletedProcess[str]:
    where = ("--kubeconfig", str(hub.kubeconfig)) if hub else ()
    command = [str(BIN / program), arguments[0], *where, *arguments[1:]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.fixture
def digits(hub: Cloud, namespace: str) -> str:
    """A namespace with a ModelDeployment `digits` whose status says that a rollout is under way."""
    spec = {
        "model": {"bundle": "registry.example.com/digits:1@sha256:" + "0" * 64},
        "server": {"image": "s"},
        "placement": {"clusterSelector": {}},
    }
    manifest = {
        "apiVersion": "pilotage.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "digits"},
        "spec": spec,
    }
    apply(hub, manifest, namespace=namespace)
    set_status(hub, namespace, phase="Progressing", message="waiting for labels", rollout=ROLLOUT)
    return namespace


def set_status(hub: Cloud, namespace: str, **status: Any) -> None:
    patch = json.dumps({"status": {"observedGeneration": 1, **status}})
    kubectl(hub, "patch", "mdep", "digits", "-n", namespace, "--subresource=status", "--type=merge", "-p", patch)


def test_get_lists_and_shows_and_prints_json(hub: Cloud, digits: str):
    listed = run(hub, "get", "-n", digits)
    shown = run(hub, "get", "digits", "-n", digits)
    raw = run(hub, "get", "digits", "-n", digits, "-o", "json")

    assert listed.stdout.splitlines()[1].split()[:3] == ["digits", "◌", "Progressing"]
    assert "Message:    waiting for labels" in shown.stdout
    assert json.loads(raw.stdout)["deployment"]["spec"]["server"] == {"image": "s"}


def test_it_is_a_kubectl_plugin_too(hub: Cloud, digits: str):
    shown = run(hub, "get", "digits", "-n", digits, program="kubectl-pilotage")

    assert shown.returncode == 0
    assert "digits" in shown.stdout


def test_abort_annotates_the_rollout_it_means(hub: Cloud, digits: str):
    done = run(hub, "abort", "digits", "-n", digits)

    annotations = get(hub, "mdep", "digits", "-n", digits)["metadata"]["annotations"]
    assert (done.returncode, done.stdout) == (0, "modeldeployment.pilotage.dev/digits: the rollout is aborted\n")
    assert annotations["pilotage.dev/abort"] == "digits-aaaaaaaaaa.1"


def test_pause_and_resume_write_the_spec(hub: Cloud, digits: str):
    assert run(hub, "pause", "digits", "-n", digits).returncode == 0
    assert get(hub, "mdep", "digits", "-n", digits)["spec"]["paused"] is True
    assert run(hub, "resume", "digits", "-n", digits).returncode == 0
    assert get(hub, "mdep", "digits", "-n", digits)["spec"]["paused"] is False


@pytest.mark.parametrize(
    ("phase", "message", "code", "said"),
    [
        ("Healthy", "", 0, "Healthy\n"),
        ("Degraded", "recall too low", 1, "Degraded - recall too low\n"),
        ("Paused", "step", 0, "Paused - step\n"),
    ],
)
def test_status_ends_with_the_rollout(hub: Cloud, digits: str, phase: str, message: str, code: int, said: str):
    set_status(hub, digits, phase=phase, message=message)

    done = run(hub, "status", "digits", "-n", digits)

    assert (done.returncode, done.stdout) == (code, said)


def test_status_gives_up_at_its_timeout_with_a_code_of_its_own(hub: Cloud, digits: str):
    done = run(hub, "status", "digits", "-n", digits, "--timeout", "1s")

    assert done.returncode == 3
    assert done.stderr == "error: digits is still Progressing - waiting for labels after 1s\n"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("get", "nobody"), 1, "error: modeldeployments.pilotage.dev 'nobody' in namespace 'default': not found"),
        (("retry", "nobody"), 1, "not found"),
        (("status", "digits", "--timeout", "soon"), 2, "--timeout: 'soon' is not a duration; write for example 90s"),
        (("get", "--context", "mars"), 2, "no usable kubeconfig"),
        (("get", "-o", "yaml"), 2, "'yaml' is not one of"),
        (("promotte", "digits"), 2, "No such command 'promotte'"),
    ],
)
def test_mistakes_get_a_sentence_and_a_code(hub: Cloud, arguments: tuple[str, ...], code: int, said: str):
    done = run(hub, *arguments)

    assert done.returncode == code
    assert said in done.stderr.replace("\n", " ")


def test_a_verb_with_nothing_to_act_on_says_so(hub: Cloud, digits: str):
    set_status(hub, digits, phase="Healthy", rollout={**ROLLOUT, "outcome": "Promoted"})

    done = run(hub, "abort", "digits", "-n", digits)

    assert done.returncode == 1
    assert "no rollout is under way to abort (the last one, digits-aaaaaaaaaa.1, ended Promoted)" in done.stderr


def test_a_hub_out_of_reach_has_a_code_of_its_own(hub: Cloud, tmp_path: Path):
    elsewhere = tmp_path / "kubeconfig"
    elsewhere.write_text(hub.kubeconfig.read_text().replace(hub.api_server, "https://127.0.0.1:9"))

    done = subprocess.run(
        [str(BIN / "pilotage"), "get", "--kubeconfig", str(elsewhere)], capture_output=True, text=True, timeout=60
    )

    assert done.returncode == 4
    assert "the hub does not answer" in done.stderr


def test_no_kubeconfig_at_all_is_a_usage_error(tmp_path: Path):
    done = subprocess.run(
        [str(BIN / "pilotage"), "get", "--kubeconfig", str(tmp_path / "none")],
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 2
    assert "set KUBECONFIG or give --kubeconfig" in done.stderr


def test_version_is_the_package_s():
    assert run(None, "version").stdout.startswith("pilotage 0.")
