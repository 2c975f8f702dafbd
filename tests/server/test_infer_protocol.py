"""What clients get over HTTP.

The Open Inference Protocol, and a sentence with a remedy for everything else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.serving import Keys, Server, running_server

INFER = "/v2/models/digits/infer"
REVISION = "digits-0a1b2c3d4e"
ROW = [0.0] * 64
SETOSA, SHAPE = 'predicted="setosa",', 'reason="shape",'


@pytest.fixture(scope="session")
def iris_server(iris: Path, keys: Keys) -> Iterator[Server]:
    """A server by hand: no feedback keys, names from the bundle."""
    with running_server(iris / "bundle", "--bundle-key-dir", str(keys.public_dir)) as server:
        yield server


def a_tensor(**changes: Any) -> dict[str, Any]:
    return {"name": "input", "datatype": "FP64", "shape": [1, 64], "data": ROW, **changes}


def a_request(**changes: Any) -> dict[str, Any]:
    return {"inputs": [a_tensor(**changes)]}


def held_back(run: Path) -> tuple[list[list[float]], list[str]]:
    document = json.loads((run / "holdback.json").read_text())
    return document["rows"], document["labels"]


def test_answers_classes_and_probabilities_with_a_token(digits_server: Server, digits: Path) -> None:
    rows, labels = held_back(digits)

    answer = digits_server.request("POST", INFER, {"id": "a1", **a_request(shape=[40, 64], data=rows[:40])})

    assert answer.status == 200
    assert answer.headers["x-pilotage-revision"] == REVISION
    assert answer.body["model_name"] == "digits"
    assert answer.body["model_version"] == REVISION
    assert answer.body["id"] == "a1"
    assert len(answer.body["parameters"]["feedback_token"]) > 60
    predict, proba = answer.body["outputs"]
    assert (predict["name"], predict["datatype"], predict["shape"]) == ("predict", "INT64", [40])
    assert (proba["name"], proba["datatype"], proba["shape"]) == ("predict_proba", "FP64", [40, 10])
    assert sum(str(found) == label for found, label in zip(predict["data"], labels[:40], strict=True)) >= 36
    assert [max(range(10), key=proba["data"][i * 10 : i * 10 + 10].__getitem__) for i in range(40)] == predict["data"]


@pytest.mark.parametrize(
    "path", ["/v2/models/digits/infer", f"/v2/models/digits/versions/{REVISION}/infer"], ids=["model", "version"]
)
def test_nested_and_flat_data_and_every_number_type_are_the_same_row(digits_server: Server, path: str) -> None:
    row = [float(i % 17) for i in range(64)]
    whole = [i % 17 for i in range(64)]
    forms = [a_tensor(data=row), a_tensor(data=[row]), a_tensor(data=whole)]
    forms += [a_tensor(datatype=name, data=whole) for name in ("FP32", "FP16", "INT64", "INT8", "UINT8", "UINT64")]

    answers = [digits_server.request("POST", path, {"inputs": [form]}).body["outputs"] for form in forms]

    assert all(answer == answers[0] for answer in answers)


def test_gives_only_the_outputs_asked_for_in_their_order(digits_server: Server) -> None:
    wanted = [{"name": "predict_proba"}, {"name": "predict"}]

    answer = digits_server.request("POST", INFER, {**a_request(), "outputs": wanted})
    only = digits_server.request("POST", INFER, {**a_request(), "outputs": wanted[1:]})

    assert [output["name"] for output in answer.body["outputs"]] == ["predict_proba", "predict"]
    assert [output["name"] for output in only.body["outputs"]] == ["predict"]


def test_takes_named_features_and_answers_texts(iris_server: Server) -> None:
    row = {"petal_width_(cm)": 0.2, "sepal_length_(cm)": 5.1, "petal_length_(cm)": 1.4, "sepal_width_(cm)": 3.5}
    tensors = [{"name": name, "datatype": "FP64", "shape": [1], "data": [value]} for name, value in row.items()]
    matrix = {"name": "x", "datatype": "FP64", "shape": [1, 4], "data": [5.1, 3.5, 1.4, 0.2]}

    named = iris_server.request("POST", "/v2/models/iris/infer", {"inputs": tensors})
    plain = iris_server.request("POST", "/v2/models/iris/infer", {"inputs": [matrix]})

    assert named.body == plain.body
    assert named.body["outputs"][0] == {"name": "predict", "datatype": "BYTES", "shape": [1], "data": ["setosa"]}


def test_without_feedback_keys_there_are_no_tokens_and_the_log_says_so(iris_server: Server) -> None:
    matrix = {"name": "x", "datatype": "FP64", "shape": [1, 4], "data": [5.1, 3.5, 1.4, 0.2]}

    answer = iris_server.request("POST", "/v2/models/iris/infer", {"inputs": [matrix]})
    feedback = iris_server.request("POST", "/v2/models/iris/feedback", {"feedback": []})

    assert "parameters" not in answer.body
    assert feedback.status == 404
    assert feedback.body == {"error": "feedback is not enabled on this server; start it with --feedback-key-dir"}
    assert any("feedback.disabled" in line for line in iris_server.lines)


def test_tells_what_it_is(digits_server: Server) -> None:
    server = digits_server.request("GET", "/v2").body
    model = digits_server.request("GET", "/v2/models/digits").body

    assert (server["name"], server["extensions"]) == (
        "pilotage-server",
        ["binary_tensor_data", "feedback", "model_card"],
    )
    assert model["versions"] == [REVISION]
    assert model["inputs"] == [{"name": "input", "datatype": "FP64", "shape": [-1, 64]}]
    assert json.loads(model["parameters"]["classes"]) == [str(digit) for digit in range(10)]
    assert all(isinstance(value, str | int | float | bool) for value in model["parameters"].values())


@pytest.mark.parametrize("admin", [False, True], ids=["data port", "admin port"])
def test_health(digits_server: Server, admin: bool) -> None:
    live = digits_server.request("GET", "/v2/health/live", admin=admin)
    ready = digits_server.request("GET", "/v2/health/ready", admin=admin)

    assert (live.status, live.body) == (200, {"live": True})
    assert (ready.status, ready.body) == (200, {"live": True, "ready": True})


BAD: dict[str, tuple[Any, int, str]] = {
    "no JSON": (b"{", 400, "body: is not JSON"),
    "empty": (b"", 400, "body: is not JSON"),
    "garbage behind": (b"{}x", 400, "body: is not JSON"),
    "a list": ([], 400, 'body: is not an object; send {"inputs": [...]}'),
    "no inputs": ({}, 400, "inputs: is missing or empty"),
    "input no object": ({"inputs": [1]}, 400, "inputs[0]: is not an object"),
    "no name": ({"inputs": [{}]}, 400, "inputs[0].name: is missing"),
    "no data": (
        {"inputs": [{"name": "i", "datatype": "FP64", "shape": [1, 64]}]},
        400,
        "inputs[0] 'i': data is missing",
    ),
    "id a number": ({"id": 1, **a_request()}, 400, "id: is not a text"),
    "width": (
        a_request(shape=[1, 3], data=[1, 2, 3]),
        400,
        "inputs[0] 'input': shape [1, 3]; this model takes [n, 64]",
    ),
    "flat row": (a_request(shape=[64]), 400, "shape [64]; this model takes [n, 64], one row per case"),
    "shape and data": (a_request(shape=[2, 64]), 400, "shape [2, 64] but data has 64 values; make them agree"),
    "shape of nested": (a_request(shape=[1, 64], data=[ROW[:32], ROW[:32]]), 400, "but data has shape [2, 32]"),
    "ragged": (a_request(shape=[2, 64], data=[ROW, ROW[:3]]), 400, "data is ragged"),
    "no rows": (a_request(shape=[0, 64], data=[]), 400, "'input': has no rows; send at least one"),
    "negative shape": (a_request(shape=[-1, 64]), 400, "shape is missing, or no list of whole numbers"),
    "shape a text": (a_request(shape="1,64"), 400, "shape is missing, or no list"),
    "null": (a_request(data=[None, *ROW[1:]]), 400, "value 0 is null, and there were no gaps in training"),
    "text": (a_request(data=["0", *ROW[1:]]), 400, "data holds texts"),
    "boolean": (a_request(data=[True] * 64), 400, "datatype FP64, but data holds booleans"),
    "object": (a_request(data={"a": 1}), 400, "data is not a list"),
    "fraction": (a_request(datatype="INT64", data=[0.5, *ROW[1:]]), 400, "datatype INT64, but data has fractions"),
    "overflow of type": (a_request(datatype="INT8", data=[300] * 64), 400, "a value is outside [-128, 127]"),
    "not finite": (a_request(datatype="FP32", data=[1e300, *ROW[1:]]), 400, "value 0 is not finite as FP32"),
    "beyond the model": (a_request(data=[1e308] * 64), 400, "no finite probability for these values"),
    "BYTES": (a_request(datatype="BYTES"), 400, "datatype 'BYTES'; this model takes FP16, FP32, FP64"),
    "output": (
        {**a_request(), "outputs": [{"name": "predct"}]},
        400,
        "'predct' is no output of this model; did you mean",
    ),
    "binary output": (
        {**a_request(), "parameters": {"binary_data_output": "yes"}},
        400,
        "parameters.binary_data_output: yes is neither true nor false",
    ),
    "bytes that are not there": (
        a_request(parameters={"binary_data_size": 512}),
        400,
        "inputs[0] 'input': binary_data_size 512, but 0 bytes are left behind the JSON",
    ),
    "rows": (
        a_request(shape=[4097, 64], data=[0] * (4097 * 64)),
        413,
        "4097 rows; at most 4096 in one request, split it",
    ),
    "unknown feature": (
        {"inputs": [a_tensor(name="pixel_0_0", shape=[1], data=[0]), a_tensor(name="pixel_0_9", shape=[1], data=[0])]},
        400,
        "inputs[1] 'pixel_0_9': is no feature of this model; did you mean 'pixel_0_",
    ),
    "missing features": (
        {"inputs": [a_tensor(name="pixel_0_0", shape=[1], data=[0])]},
        400,
        "inputs: 63 features are missing (pixel_0_1, pixel_0_2, pixel_0_3, pixel_0_4, pixel_0_5, …)",
    ),
    "feature twice": ({"inputs": [a_tensor(name="pixel_0_0", shape=[1], data=[0])] * 2}, 400, "occurs twice"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_requests_are_the_clients_fault_and_say_what_to_do(name: str, digits_server: Server) -> None:
    body, status, message = BAD[name]

    answer = digits_server.request("POST", INFER, body)

    assert answer.status == status
    assert set(answer.body) == {"error"}
    assert message in answer.body["error"]
    assert answer.headers["x-pilotage-revision"] == REVISION


ELSEWHERE: dict[str, tuple[str, str, dict[str, str], int, str]] = {
    "other model": ("POST", "/v2/models/iris/infer", {}, 404, "model 'iris' is not served here; this is 'digits'"),
    "other version": ("POST", "/v2/models/digits/versions/9/infer", {}, 404, "version '9' of 'digits' is not served"),
    "nothing": ("GET", "/v3/models", {}, 404, "/v3/models: nothing here; try /v2"),
    "wrong method": ("GET", INFER, {}, 405, "GET is not allowed here; use POST"),
    "post to a page": ("POST", "/v2", {}, 405, "POST is not allowed here; use GET"),
    "brotli": ("POST", INFER, {"content-encoding": "br"}, 415, "content-encoding: 'br'; send gzip, or no encoding"),
    "no gzip": ("POST", INFER, {"content-encoding": "gzip"}, 400, "content-encoding: the body is not gzip"),
    "upgrade": ("POST", INFER, {"connection": "upgrade", "upgrade": "h2c"}, 400, "this server speaks plain HTTP/1.1"),
    "JSON cut short": ("POST", INFER, {"inference-header-content-length": "9"}, 400, "body: is not JSON"),
    "JSON too long": ("POST", INFER, {"inference-header-content-length": "99999"}, 400, "99999, but the body has"),
    "deadline": ("POST", INFER, {"x-request-deadline-ms": "soon"}, 400, "x-request-deadline-ms: 'soon' is not a whole"),
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_bad_addresses_and_encodings(name: str, digits_server: Server) -> None:
    method, path, headers, status, message = ELSEWHERE[name]

    answer = digits_server.request(method, path, a_request() if method == "POST" else None, headers)

    assert answer.status == status
    assert message in answer.body["error"]


def test_a_body_too_large_is_refused_in_words(digits_server: Server) -> None:
    answer = digits_server.request("POST", INFER, b" " * (8 * 2**20 + 1))

    assert answer.status == 413
    assert answer.body == {"error": "body: more than 8388608 bytes; send fewer rows at once"}


def test_endless_headers_and_what_is_not_http_are_refused_in_json(digits_server: Server) -> None:
    long = digits_server.request("GET", "/v2", headers={"x-long": "a" * 70_000})
    odd = digits_server.request("GET", "/v2", headers={"content-length": "many"})

    assert (long.status, odd.status) == (431, 400)
    assert "error" in long.body
    assert "error" in odd.body


def test_counts_rows_classes_and_refusals_under_the_operators_names(iris: Path, keys: Keys) -> None:
    pod = {"PILOTAGE_MODEL": "flowers", "PILOTAGE_REVISION": "flowers-1"}
    with running_server(iris / "bundle", "--bundle-key-dir", str(keys.public_dir), env=pod) as server:
        setosa = [5.1, 3.5, 1.4, 0.2]
        tensor = {"name": "x", "datatype": "FP64", "shape": [2, 4], "data": setosa * 2}
        before = server.metric('model_predictions_total{model="flowers",predicted="virginica",revision="flowers-1"}')

        server.request("POST", "/v2/models/flowers/infer", {"inputs": [tensor]})
        server.request("POST", "/v2/models/flowers/infer", {"inputs": [{**tensor, "shape": [1, 4]}]})

        names = 'model="flowers",{}revision="flowers-1"'
        assert before == 0
        assert server.metric(f"model_rows_total{{{names.format('')}}}") == 2
        assert server.metric(f"model_predictions_total{{{names.format(SETOSA)}}}") == 2
        assert server.metric('model_requests_total{code="200",model="flowers",protocol="v2",revision="flowers-1"}') == 1
        assert server.metric('model_requests_total{code="400",model="flowers",protocol="v2",revision="flowers-1"}') == 1
        assert server.metric('model_requests_total{code="500",model="flowers",protocol="v2",revision="flowers-1"}') == 0
        assert server.metric(f"model_rejected_total{{{names.format(SHAPE)}}}") == 1
        assert server.metric(f"model_ready{{{names.format('')}}}") == 1
