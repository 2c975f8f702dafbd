"""The same data plane over gRPC: NVIDIA's client works, health checks work, faults are told apart."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from pilotage_server.serve.rpc.messages import HEALTH_SERVICE, SERVICE, SERVICE_UNKNOWN, SERVING, message
from support.serving import Keys, Server, running_server

ROWS = [[5.1, 3.5, 1.4, 0.2], [6.0, 3.0, 5.0, 2.0]]


@pytest.fixture(scope="module")
def server(iris: Path, keys: Keys) -> Iterator[Server]:
    trust = ("--bundle-key-dir", str(keys.public_dir), "--grpc-port", "0")
    with running_server(iris / "oci", *trust) as running:
        yield running


@pytest.fixture(scope="module")
def address(server: Server) -> str:
    ready = next(line for line in server.lines if '"server.ready"' in line)
    return f"127.0.0.1:{json.loads(ready)['grpc_port']}"


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(address) as connected:
        yield connected


def a_matrix(rows: list[list[float]], datatype: str = "FP64") -> triton.InferInput:
    values = np.array(rows, np.float32 if datatype == "FP32" else np.float64)
    matrix = triton.InferInput("input", list(values.shape), datatype)
    matrix.set_data_from_numpy(values)
    return matrix


def test_nvidias_client_gets_what_rest_answers(client: triton.InferenceServerClient, server: Server) -> None:
    tensor = {"name": "input", "datatype": "FP64", "shape": [2, 4], "data": [value for row in ROWS for value in row]}
    rest = server.request("POST", "/v2/models/iris/infer", {"inputs": [tensor]}).body["outputs"]

    answer = client.infer("iris", [a_matrix(ROWS)], request_id="a1")

    assert answer.as_numpy("predict").tolist() == [label.encode() for label in rest[0]["data"]]
    assert answer.as_numpy("predict_proba").reshape(-1).tolist() == rest[1]["data"]
    assert answer.get_response().id == "a1"


def test_says_what_it_is(client: triton.InferenceServerClient) -> None:
    model = client.get_model_metadata("iris", as_json=True)

    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("iris")
    assert client.get_server_metadata().name == "pilotage-server"
    assert model["inputs"] == [{"name": "input", "datatype": "FP64", "shape": ["-1", "4"]}]


def test_typed_contents_are_read_like_raw_ones(address: str) -> None:
    request = message("ModelInferRequest")(model_name="iris", outputs=[{"name": "predict"}])
    tensor = request.inputs.add(name="x", datatype="FP32", shape=[2, 4])
    tensor.contents.fp32_contents.extend(value for row in ROWS for value in row)

    with grpc.insecure_channel(address) as channel:
        infer = channel.unary_unary(
            f"/{SERVICE}/ModelInfer",
            request_serializer=message("ModelInferRequest").SerializeToString,
            response_deserializer=message("ModelInferResponse").FromString,
        )
        answer = infer(request)

    assert list(answer.outputs[0].contents.bytes_contents) == [b"setosa", b"virginica"]


@pytest.mark.parametrize(
    ("model", "matrix", "code", "text"),
    [
        ("wine", a_matrix(ROWS), "NOT_FOUND", "model 'wine' is not served here; this is 'iris'"),
        ("iris", a_matrix([[1.0, 2.0]]), "INVALID_ARGUMENT", "this model takes [n, 4]"),
        ("iris", a_matrix([[1.0, 2.0, 3.0, float("nan")]]), "INVALID_ARGUMENT", "is not finite as FP64"),
    ],
    ids=["other model", "width", "value"],
)
def test_a_clients_fault_is_never_ours(
    client: triton.InferenceServerClient, model: str, matrix: triton.InferInput, code: str, text: str
) -> None:
    with pytest.raises(InferenceServerException) as failed:
        client.infer(model, [matrix])

    assert failed.value.status() == f"StatusCode.{code}"
    assert text in failed.value.message()


def test_health_checks_are_those_kubernetes_asks(address: str) -> None:
    with grpc.insecure_channel(address) as channel:
        check = channel.unary_unary(
            f"/{HEALTH_SERVICE}/Check",
            request_serializer=message("HealthCheckRequest").SerializeToString,
            response_deserializer=message("HealthCheckResponse").FromString,
        )
        told = [check(message("HealthCheckRequest")(service=name)).status for name in ("", "iris", SERVICE, "other")]

    assert told == [SERVING, SERVING, SERVING, SERVICE_UNKNOWN]


def test_calls_are_counted_with_the_requests(client: triton.InferenceServerClient, server: Server) -> None:
    sample = next(
        line.rpartition(" ")[0]
        for line in server.request("GET", "/metrics", admin=True).body.splitlines()
        if line.startswith('model_requests_total{code="200"') and 'protocol="grpc"' in line
    )
    before = server.metric(sample)

    client.infer("iris", [a_matrix(ROWS, "FP32")])

    assert server.metric(sample) == before + 1
