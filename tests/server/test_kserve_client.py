"""KServe's clients work with their defaults: REST V1, REST V2 in JSON and in bytes, gRPC.

They run as a program of their own (support/kserve_client.py), because they need packages that ours must not have.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from benchmarks.environments import command
from support.serving import Keys, running_server

CLIENT = Path(__file__).parents[1] / "support" / "kserve_client.py"


@pytest.fixture(scope="module")
def found(iris: Path, keys: Keys, feedback_keys: Path) -> dict[str, Any]:
    """What the clients made of a running server."""
    trust = ("--bundle-key-dir", str(keys.public_dir), "--feedback-key-dir", str(feedback_keys), "--grpc-port", "0")
    with running_server(iris / "oci", *trust, env={"PILOTAGE_CLUSTER": "aws"}) as server:
        said = json.loads(next(line for line in server.lines if '"server.ready"' in line))
        url, address = f"http://127.0.0.1:{server.port}", f"127.0.0.1:{said['grpc_port']}"
        argv, environment = command("clients", [str(CLIENT), url, address, "iris"])
        ran = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    return dict(json.loads(ran.stdout))


def test_says_that_it_is_live_and_ready_in_every_dialect(found: dict[str, Any]) -> None:
    assert {name: found["v1"][name] for name in ("live", "model")} == {"live": True, "model": True}
    for dialect in ("v2", "grpc"):
        assert [found[dialect][name] for name in ("live", "ready", "model")] == [True, True, True]


def test_a_model_that_is_not_here_is_not_ready(found: dict[str, Any]) -> None:
    assert found["v2"]["no model"] is False


def test_bytes_json_and_grpc_carry_the_same_answer(found: dict[str, Any]) -> None:
    answer = found["v2"]["json"]

    assert answer["outputs"]["predict"] == found["v1"]["predictions"] == ["versicolor", "versicolor"]
    assert len(answer["outputs"]["predict_proba"]) == 6
    for name in ("request", "chosen", "all_binary"):
        assert found["v2"][name]["outputs"] == answer["outputs"]
    for name in ("typed", "raw"):
        assert found["grpc"][name]["outputs"]["predict_proba"] == answer["outputs"]["predict_proba"]
        assert found["grpc"][name]["outputs"]["predict"] == ["b'versicolor'"] * 2  # gRPC has bytes only


def test_gives_the_id_back(found: dict[str, Any]) -> None:
    ids = [found[dialect][name]["id"] for dialect, name in (("v2", "request"), ("v2", "binary"), ("grpc", "typed"))]

    assert ids == ["00000000-0000-0000-0000-000000000007"] * 3


def test_its_users_read_our_remedy(found: dict[str, Any]) -> None:
    assert found["v2"]["narrow"].startswith(
        "HTTPStatusError: inputs[0] 'input-0': shape [1, 3]; this model takes [n, 4], one row per case, '400 Bad"
    )
