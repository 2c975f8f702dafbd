"""Clients of other projects work with their defaults, and our OpenAPI document tells the truth about every answer."""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import schemathesis
import tritonclient.http as triton
from hypothesis import HealthCheck, given, settings
from openapi_spec_validator import validate
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from support.serving import Keys, Server, running_server

ROWS = [[5.1, 3.5, 1.4, 0.2], [6.0, 3.0, 5.0, 2.0]]
VALUES = [value for row in ROWS for value in row]
INFER = "/v2/models/iris/infer"


@pytest.fixture(scope="module")
def server(iris: Path, keys: Keys, feedback_keys: Path) -> Iterator[Server]:
    trust = ("--bundle-key-dir", str(keys.public_dir), "--feedback-key-dir", str(feedback_keys))
    with running_server(iris / "oci", *trust, "--explain", env={"PILOTAGE_CLUSTER": "aws"}) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}") as connected:
        yield connected


def a_request(**changes: Any) -> dict[str, Any]:
    tensor = {"name": "input", "datatype": "FP64", "shape": [2, 4], "data": VALUES}
    return {"inputs": [tensor], **changes}


def test_nvidias_client_works_with_its_defaults(client: triton.InferenceServerClient) -> None:
    matrix = triton.InferInput("input", [2, 4], "FP64")
    matrix.set_data_from_numpy(np.array(ROWS))

    answer = client.infer("iris", [matrix])

    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("iris")
    assert client.get_model_metadata("iris")["inputs"] == [{"name": "input", "datatype": "FP64", "shape": [-1, 4]}]
    assert answer.as_numpy("predict").tolist() == [b"setosa", b"virginica"]
    assert answer.as_numpy("predict_proba").shape == (2, 3)


def test_nvidias_client_may_mix_json_and_bytes_and_compress(client: triton.InferenceServerClient) -> None:
    columns = []
    for i, name in enumerate(json.loads(client.get_model_metadata("iris")["parameters"]["features"])):
        column = triton.InferInput(name, [2], "FP32")
        column.set_data_from_numpy(np.array([row[i] for row in ROWS], np.float32), binary_data=i % 2 == 0)
        columns.append(column)
    wanted = [triton.InferRequestedOutput("output-0"), triton.InferRequestedOutput("predict_proba", binary_data=False)]

    answer = client.infer("iris", columns, outputs=wanted, request_compression_algorithm="gzip")

    assert answer.as_numpy("output-0").tolist() == [b"setosa", b"virginica"]
    assert [output["name"] for output in answer.get_response()["outputs"]] == ["output-0", "predict_proba"]


def test_bytes_and_json_are_the_same_numbers(server: Server) -> None:
    tensor = {"name": "input", "datatype": "FP64", "shape": [2, 4], "parameters": {"binary_data_size": 64}}
    document = json.dumps({"inputs": [tensor]}).encode()
    body = document + struct.pack("<8d", *VALUES)

    plain = server.request("POST", INFER, a_request())
    packed = server.request("POST", INFER, body, {"inference-header-content-length": str(len(document))})
    zipped = server.request(
        "POST", INFER, gzip.compress(json.dumps(a_request()).encode()), {"content-encoding": "gzip"}
    )

    assert packed.status == zipped.status == 200
    assert packed.body["outputs"] == zipped.body["outputs"] == plain.body["outputs"]


KSERVES = {"name": "input-0", "datatype": "FP32", "shape": [2, 4], "data": [[6.8, 2.8, 4.8, 1.4], [6.0, 3.4, 4.5, 1.6]]}
MLSERVERS = {"name": "input-0", "datatype": "INT32", "shape": [1, 3], "data": [1, 2, 3]}


@pytest.mark.parametrize(
    ("wanted", "json_outputs", "behind"),
    [
        ({}, ["predict", "predict_proba"], 0),
        ({"outputs": [{"name": "output-0", "parameters": {"binary_data": True}}]}, ["output-0"], 28),
        ({"parameters": {"binary_data_output": True}}, ["predict", "predict_proba"], 28 + 48),
    ],
    ids=["iris_input_v2", "iris_input_v2_binary", "iris_input_v2_all_binary"],
)
def test_the_bodies_of_kserves_examples_are_predicted(
    wanted: dict[str, Any], json_outputs: list[str], behind: int, server: Server
) -> None:
    answer = server.request("POST", INFER, {"inputs": [KSERVES], **wanted})

    content = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
    ends = int(answer.headers.get("inference-header-content-length", len(content)))
    assert answer.status == 200
    assert [output["name"] for output in json.loads(content[:ends])["outputs"]] == json_outputs
    assert len(content) - ends == behind
    if behind:
        assert content[ends : ends + 28] == struct.pack("<I10s", 10, b"versicolor") * 2


def test_bodies_written_for_another_model_are_refused_in_words(server: Server) -> None:
    def answer(body: object, path: str = INFER) -> str:
        found = server.request("POST", path, body)
        assert found.status == 400
        return str(found.body["error"])

    flat = {**MLSERVERS, "shape": [3]}
    assert "shape [1, 3]; this model takes [n, 4]" in answer({"inputs": [MLSERVERS]})
    assert "shape [3]; this model takes [n, 4]" in answer({"inputs": [flat]})
    assert "requested-output-0" in answer({"inputs": [KSERVES], "outputs": [{"name": "requested-output-0"}]})
    assert "is not an object" in answer([{"inputs": [KSERVES]}])
    assert "instances: is missing" in answer({"inputs": [{"sepal_length_(cm)": [5.1]}]}, "/v1/models/iris:predict")


def test_bytes_that_do_not_fit_are_refused(server: Server) -> None:
    def answer(size: int, sent: bytes) -> str:
        tensor = {"name": "input", "datatype": "FP64", "shape": [2, 4], "parameters": {"binary_data_size": size}}
        document = json.dumps({"inputs": [tensor]}).encode()
        headers = {"inference-header-content-length": str(len(document))}
        found = server.request("POST", INFER, document + sent, headers)
        assert found.status == 400
        return str(found.body["error"])

    assert "takes 64 bytes, binary_data_size is 8" in answer(8, bytes(8))
    assert "4 bytes behind the JSON belong to no tensor" in answer(64, bytes(68))
    assert "value 0 is not finite as FP64" in answer(64, struct.pack("<8d", float("nan"), *[0.0] * 7))


def test_a_gzip_bomb_stops_at_the_cap(server: Server) -> None:
    bomb = gzip.compress(bytes(64 * 2**20))

    answer = server.request("POST", INFER, bomb, {"content-encoding": "gzip"})

    assert (answer.status, answer.body["error"][:30]) == (413, "body: more than 8388608 bytes;")


def test_the_older_protocol_answers_classes(server: Server) -> None:
    named = {"sepal_length_(cm)": 6.0, "sepal_width_(cm)": 3.0, "petal_length_(cm)": 5.0, "petal_width_(cm)": 2.0}

    rows = server.request("POST", "/v1/models/iris:predict", {"instances": ROWS})
    objects = server.request("POST", "/v1/models/iris:predict", {"instances": [named]})
    ragged = server.request("POST", "/v1/models/iris:predict", {"instances": [[1.0, 2.0]]})

    assert rows.body["predictions"] == ["setosa", "virginica"]
    assert len(rows.body["feedback_token"]) > 60
    assert objects.body["predictions"] == ["virginica"]
    assert (ragged.status, ragged.body["error"][:10]) == (400, "inputs[0] ")
    assert server.request("GET", "/v1/models").body == {"models": ["iris"]}
    assert server.request("GET", "/v1/models/iris").body == {"name": "iris", "ready": True}


def test_serves_the_report_that_was_signed_and_lets_it_load_nothing(server: Server, iris: Path) -> None:
    answer = server.request("GET", "/v2/models/iris/report")

    assert answer.status == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert answer.body == (iris / "bundle" / "report.html").read_text()


def test_serves_the_card_that_was_signed(server: Server, iris: Path) -> None:
    answer = server.request("GET", "/v2/models/iris/card")

    assert answer.headers["content-type"] == "text/markdown; charset=utf-8"
    assert answer.body == (iris / "bundle" / "model_card.md").read_text()


def test_rows_nobody_waits_for_any_more_are_dropped(server: Server) -> None:
    answer = server.request("POST", INFER, a_request(), {"x-request-deadline-ms": "0"})

    assert (answer.status, answer.body["error"]) == (
        408,
        "x-request-deadline-ms: 0 ms were over before the rows were predicted",
    )


def test_a_decision_is_the_class_unless_the_manifest_would_rather_abstain(server: Server) -> None:
    wanted = [{"name": "decision"}, {"name": "predict"}]

    decision, predict = server.request("POST", INFER, a_request(outputs=wanted)).body["outputs"]

    assert decision == {**predict, "name": "decision"}


def test_the_openapi_document_is_valid_and_names_the_model(server: Server) -> None:
    document = server.request("GET", "/openapi.json").body

    validate(document)
    assert "/v2/models/iris/infer" in document["paths"]
    assert document["components"]["schemas"]["ClassName"]["enum"] == ["setosa", "versicolor", "virginica"]


def never_our_fault(_: Any, response: Any, __: Any) -> None:
    # 503 is an answer by design: no collector runs behind this server.
    assert response.status_code < 500 or response.status_code == 503, response.text


@pytest.mark.parametrize(("mode", "examples"), [(GenerationMode.POSITIVE, 12), (GenerationMode.NEGATIVE, 8)])
def test_whatever_is_sent_gets_a_documented_answer(mode: GenerationMode, examples: int, server: Server) -> None:
    """What the document allows, and what it forbids."""
    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{server.port}/openapi.json")
    checks = [never_our_fault, status_code_conformance, content_type_conformance, response_schema_conformance]
    asked: set[str] = set()

    operations: list[Any] = list(schema.get_all_operations())
    for operation in (each.ok() for each in operations):
        if mode is GenerationMode.NEGATIVE and operation.method != "post":
            continue  # nothing of a GET can be wrong but its address
        if operation.path.endswith("/infer") and "/versions/" in operation.path:
            continue  # the same as without

        @settings(max_examples=examples, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
        @given(operation.as_strategy(generation_mode=mode))
        def every(case: Any) -> None:
            asked.add(case.operation.path)
            case.call_and_validate(checks=checks)

        every()
    posts = {"infer", "explain", "feedback", "iris:predict"}
    assert {path.rpartition("/")[2] for path in asked} >= posts


def test_the_document_tells_every_page_there_is(server: Server) -> None:
    revision = server.request("GET", "/v2").headers["x-pilotage-revision"]
    model, versioned, v1 = "/v2/models/iris", f"/v2/models/iris/versions/{revision}", "/v1/models"
    health = {"/", "/v2", "/v2/health/live", "/v2/health/ready"}

    assert set(server.request("GET", "/openapi.json").body["paths"]) >= {
        *health,
        *(
            f"{model}{page}"
            for page in ("", "/ready", "/infer", "/explain", "/feedback", "/quality", "/card", "/report")
        ),
        *(f"{versioned}{page}" for page in ("", "/ready", "/infer")),
        *(v1, f"{v1}/iris", f"{v1}/iris:predict"),
    }
