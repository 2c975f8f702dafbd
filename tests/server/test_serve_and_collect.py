"""From a prediction to a counted outcome with the real programs.

A server, its collector, and a client in between.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pilotage_server.feedback import KeyRing, open_token
from pilotage_server.feedback.token import Token
from support.polling import eventually
from support.serving import SERVER, Keys, Server, free_ports, running_server

INFER, FEEDBACK = "/v2/models/digits/infer", "/v2/models/digits/feedback"
QUALITY = "/v2/models/digits/quality"


@contextmanager
def running_collector(
    folder: Path, feedback_keys: Path, port: int, admin_port: int
) -> Iterator[subprocess.Popen[bytes]]:
    """Start `pilotage-server collect` with a label delay of five seconds."""
    config = folder / "collector.json"
    config.write_text(json.dumps({"model": "digits", "namespace": "models", "cluster": "aws", "labelDelaySeconds": 5}))
    command = [str(SERVER), "collect", "--config", str(config), "--data", str(folder / "data")]
    command += ["--key-dir", str(feedback_keys), "--port", str(port), "--admin-port", str(admin_port)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=dict(os.environ))
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def ports() -> list[int]:
    return free_ports(2)


@pytest.fixture
def server(digits: Path, keys: Keys, feedback_keys: Path, ports: list[int]) -> Iterator[Server]:
    env = {
        "PILOTAGE_MODEL": "digits",
        "PILOTAGE_REVISION": "digits-1",
        "PILOTAGE_CLUSTER": "aws",
        "PILOTAGE_COLLECTOR_SERVICE": "digits-collector",
        "DIGITS_COLLECTOR_SERVICE_HOST": "127.0.0.1",
        "DIGITS_COLLECTOR_SERVICE_PORT": str(ports[0]),
        "PILOTAGE_FEEDBACK_KEY_DIR": str(feedback_keys),
        "PILOTAGE_BUNDLE_KEY_DIR": str(keys.public_dir),
        "PILOTAGE_SERVER_DRAIN_SECONDS": "0.5",
        "PILOTAGE_SERVER_LAST_SCRAPE_SECONDS": "0.5",
    }
    with running_server(digits / "oci", env=env) as running:
        yield running


def matured(collector_admin: int) -> dict[tuple[str, str], int]:
    """Cells above zero of the gate's counter, as (actual, predicted)."""
    connection = http.client.HTTPConnection("127.0.0.1", collector_admin, timeout=5)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    found = {}
    for line in text.splitlines():
        if line.startswith("pilotage_matured_labels_total{") and float(line.rpartition(" ")[2]):
            labels = dict(part.split("=") for part in line[line.index("{") + 1 : line.index("}")].split(","))
            found[labels["actual"].strip('"'), labels["predicted"].strip('"')] = int(float(line.rpartition(" ")[2]))
    return found


def predict(server: Server, row: list[float], label: str) -> tuple[dict[str, object], tuple[str, str]]:
    """One prediction.

    The feedback item for its true label, and the cell (actual, predicted) it must count in.
    """
    tensor = {"name": "input", "datatype": "FP64", "shape": [1, 64], "data": row}
    answer = server.request("POST", INFER, {"inputs": [tensor]}).body
    item = {"token": answer["parameters"]["feedback_token"], "row": 0, "label": label}
    return item, (label, str(answer["outputs"][0]["data"][0]))


def results(server: Server, items: list[dict[str, object]]) -> list[str]:
    """What became of each item; the collector may need a moment to come up."""

    def post() -> list[str]:
        answer = server.request("POST", FEEDBACK, {"feedback": items})
        return [result["result"] for result in answer.body["results"]] if answer.status == 200 else []

    return eventually(post, 15)


def test_labels_are_counted_once_against_what_was_predicted(
    server: Server, digits: Path, feedback_keys: Path, ports: list[int], tmp_path: Path
) -> None:
    held_back = json.loads((digits / "holdback.json").read_text())
    cases = list(zip(held_back["rows"], held_back["labels"], strict=True))[:60]
    orphan, _ = predict(server, *cases[0])
    refused = server.request("POST", FEEDBACK, {"feedback": [orphan]})

    with running_collector(tmp_path, feedback_keys, *ports):
        lost = results(server, [orphan])
        predicted = [predict(server, *case) for case in cases]
        items = [item for item, _ in predicted]
        accepted, repeated = results(server, items), results(server, items)

        assert (refused.status, set(refused.body)) == (503, {"error"})
        assert int(refused.headers["retry-after"]) >= 1
        assert lost == ["history_lost"]
        assert accepted == ["accepted"] * 60
        assert repeated == ["duplicate"] * 60
        expected = Counter(cell for _, cell in predicted)
        eventually(lambda: matured(ports[1]) == expected, 25)

        eventually(lambda: counted_rows(server) == 60, 10)
        told = server.request("GET", QUALITY).body
        (counts,) = told["revisions"].values()
        cells = {(actual, predicted): n for actual, row in counts["matured"].items() for predicted, n in row.items()}
        assert {cell: n for cell, n in cells.items() if n} == expected
        assert counts["loss"]["count"] == 60
        assert 0 < counts["loss"]["sum"] < 60 * 6_907_755
    # One gate row per request: the orphan's and the sixty.
    assert summed(server, "model_gate_rows_total") == summed(server, "model_confidence_bins_total") == 61
    assert summed(server, "model_feature_bins_total") == 61 * 20


def test_audited_requests_say_so_and_slices_are_kept_only_if_the_bundle_lists_them(
    digits: Path, keys: Keys, feedback_keys: Path
) -> None:
    env = {"PILOTAGE_CLUSTER": "aws", "PILOTAGE_AUDIT_RATE": "1"}
    trust = ("--bundle-key-dir", str(keys.public_dir), "--feedback-key-dir", str(feedback_keys))
    tensor = {"name": "input", "datatype": "FP64", "shape": [1, 64], "data": [0.0] * 64}
    with running_server(digits / "oci", *trust, env=env) as running:
        answer = running.request("POST", INFER, {"inputs": [tensor], "parameters": {"region": "eu"}}).body

    token = open_token(answer["parameters"]["feedback_token"], KeyRing(feedback_keys))
    assert answer["parameters"]["audit"] is True
    assert isinstance(token, Token)
    assert (token.audit, token.slices, len(token.probabilities)) == (True, b"", 1)


def counted_rows(server: Server) -> int:
    """Rows the collector has counted, told by the server."""
    answer = server.request("GET", QUALITY)
    return sum(one["countedRows"] for one in answer.body["revisions"].values()) if answer.status == 200 else -1


def summed(server: Server, name: str) -> float:
    """Every sample of a server's counter, added up."""
    lines = server.request("GET", "/metrics", admin=True).body.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name}{{"))


def test_a_server_leaves_cleanly_while_its_collector_is_away(server: Server) -> None:
    server.terminate()

    assert server.process.wait(10) == 0
