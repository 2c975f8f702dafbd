"""Rows with texts and missing values mean the same however they are sent, and what is neither is refused in words."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import schemathesis
import tritonclient.grpc
import tritonclient.http
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openapi_spec_validator import validate
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

from pilotage_server.bundle import AnySigner, Bundle, load, open_source
from pilotage_server.bundle.manifest import Feature
from pilotage_server.bundle.predictor import SklearnPredictor
from pilotage_server.bundle.reading import decode
from pilotage_server.bundle.writing import encode
from pilotage_server.serve.body import Body
from pilotage_server.serve.columns import Column
from pilotage_server.serve.errors import Rejected
from pilotage_server.serve.infer import Signature, read_infer
from pilotage_server.serve.rpc.codec import read_request
from pilotage_server.serve.rpc.messages import message
from pilotage_server.serve.v1 import read_v1
from pilotage_server.train.config import ConfigError
from support.serving import Keys, Server, running_server, train_config
from support.tables import a_credit_config, a_credit_file

JOBS = ("clerk", "driver", "nurse")
GRADES = ("1", "10", "2")
FEATURES = (
    Feature(name="income", low=0.0, high=99.0, missing=True),
    Feature(name="debt", low=0.0, high=99.0),
    Feature(name="job", low=0.0, high=2.0, categories=JOBS, missing=True),
    Feature(name="grade", low=0.0, high=2.0, categories=GRADES),
)
SIGNATURE = Signature(
    features=tuple(feature.name for feature in FEATURES), max_rows=64, columns=tuple(map(Column.of, FEATURES))
)
numbers = st.floats(-1e6, 1e6)
tables = st.lists(
    st.tuples(st.none() | numbers, numbers, st.none() | st.sampled_from(JOBS), st.sampled_from(GRADES)),
    min_size=1,
    max_size=12,
)
Row = tuple[float | None, float, str | None, str]


def codes_of(rows: Sequence[Row]) -> list[list[float | None]]:
    """The model's own rows."""
    return [
        [income, debt, None if job is None else float(JOBS.index(job)), float(GRADES.index(grade))]
        for income, debt, job, grade in rows
    ]


def as_columns(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """One tensor per feature, as MLServer's codec of data frames writes them."""
    kinds = ("FP64", "FP64", "BYTES", "BYTES")
    return [
        {"name": feature.name, "datatype": kind, "shape": [len(rows), 1], "data": [row[i] for row in rows]}
        for i, (feature, kind) in enumerate(zip(FEATURES, kinds, strict=True))
    ]


def packed(texts: Sequence[str]) -> bytes:
    return b"".join(len(text.encode()).to_bytes(4, "little") + text.encode() for text in texts)


def as_bytes(tensor: dict[str, Any]) -> bytes:
    data = tensor["data"]
    if tensor["datatype"] == "BYTES":
        return packed(["" if cell is None else cell for cell in data])
    return np.array(data, dtype="<f8").tobytes()


def infer_rows(*inputs: dict[str, Any], tail: bytes = b"") -> np.ndarray:
    return read_infer(Body(json=json.dumps({"inputs": inputs}).encode(), tail=tail), SIGNATURE).rows


def rpc_rows(rows: Sequence[Row], *, raw: bool) -> np.ndarray:
    request = message("ModelInferRequest")()
    for tensor in as_columns(rows):
        described = request.inputs.add(name=tensor["name"], datatype=tensor["datatype"], shape=tensor["shape"])
        if raw:
            request.raw_input_contents.append(as_bytes(tensor))
        elif tensor["datatype"] == "BYTES":
            described.contents.bytes_contents.extend((cell or "").encode() for cell in tensor["data"])
        else:
            described.contents.fp64_contents.extend(np.nan if cell is None else cell for cell in tensor["data"])
    return read_request(request, SIGNATURE).rows


def v1_rows(instances: list[Any]) -> np.ndarray:
    return read_v1(Body(json=json.dumps({"instances": instances}).encode()), SIGNATURE)


@settings(deadline=None)
@given(tables)
def test_every_way_to_send_a_table_gives_the_same_rows(rows: list[Row]) -> None:
    columns, shape = as_columns(rows), [len(rows), 4]
    binary = [
        {**{k: v for k, v in tensor.items() if k != "data"}, "parameters": {"binary_data_size": len(as_bytes(tensor))}}
        for tensor in columns
    ]
    flat = [cell for row in codes_of(rows) for cell in row]
    matrix = {"name": "x", "datatype": "FP64", "shape": shape, "data": flat}
    grades = {**columns[3], "datatype": "INT64", "data": [int(row[3]) for row in rows]}
    expected = np.array(codes_of(rows), dtype=np.float64)

    ways = {
        "columns": infer_rows(*columns),
        "columns in another order": infer_rows(*reversed(columns)),
        "numbers that are names": infer_rows(*columns[:3], grades),
        "binary columns": infer_rows(*binary, tail=b"".join(map(as_bytes, columns))),
        "codes": infer_rows(matrix),
        "codes in rows": infer_rows({**matrix, "data": codes_of(rows)}),
        "texts in rows": infer_rows({**matrix, "datatype": "BYTES", "data": [list(row) for row in rows]}),
        "gRPC": rpc_rows(rows, raw=False),
        "gRPC, raw": rpc_rows(rows, raw=True),
        "objects": v1_rows([dict(zip(SIGNATURE.features, row, strict=True)) for row in rows]),
        "mixed rows": v1_rows([list(row) for row in rows]),
        "rows of codes": v1_rows(codes_of(rows)),
    }

    for way, found in ways.items():
        assert np.array_equal(found, expected, equal_nan=True), way


def test_a_data_frame_is_read_as_mlservers_codec_writes_it() -> None:
    """The body that `PandasCodec.encode_request` of MLServer 1.7.1 makes of four columns."""
    frame = {
        "parameters": {"content_type": "pd"},
        "inputs": [
            {"name": "income", "shape": [3, 1], "datatype": "FP64", "data": [50.0, None, 41.5]},
            {"name": "debt", "shape": [3, 1], "datatype": "FP64", "data": [20.0, 21.0, 7.25]},
            {"name": "job", "shape": [3, 1], "datatype": "BYTES", "parameters": {"content_type": "str"},
             "data": ["nurse", "clerk", "clerk"]},
            {"name": "grade", "shape": [3, 1], "datatype": "INT64", "data": [1, 10, 2]},
        ],
    }  # fmt: skip

    rows = read_infer(Body(json=json.dumps(frame).encode()), SIGNATURE).rows

    expected = [[50.0, 20.0, 2.0, 0.0], [np.nan, 21.0, 0.0, 1.0], [41.5, 7.25, 0.0, 2.0]]
    assert np.array_equal(rows, expected, equal_nan=True)


cells = (
    st.none() | st.booleans() | st.integers(-1, 11) | st.floats(allow_nan=False) | st.sampled_from(["nurse", "2", ""])
)


def refused_or_safe(read: Callable[[], np.ndarray]) -> bool:
    """Whether reading gives rows a model may see, or a refusal that is the client's."""
    try:
        rows = read()
    except Rejected as rejected:
        return 400 <= rejected.status < 500
    known, codes = ~np.isnan(rows), rows[:, 2:]
    return bool(
        np.isfinite(rows[known]).all()
        and known[:, [1, 3]].all()
        and np.isin(codes[known[:, 2:]], range(len(JOBS))).all()
    )


@settings(deadline=None)
@given(
    st.lists(st.lists(cells, min_size=4, max_size=4), min_size=1, max_size=3),
    st.sampled_from(["FP64", "INT64", "BOOL", "BYTES"]),
    st.binary(max_size=30),
)
def test_whatever_cells_arrive_rows_are_safe_to_predict(rows: list[list[Any]], kind: str, tail: bytes) -> None:
    shape = [len(rows), 4]
    matrix = {"name": "x", "datatype": kind, "shape": shape, "data": rows}
    columns = [
        {"name": name, "datatype": kind, "shape": [len(rows)], "data": [row[i] for row in rows]}
        for i, name in enumerate(SIGNATURE.features)
    ]
    binary = {"name": "x", "datatype": kind, "shape": shape, "parameters": {"binary_data_size": len(tail)}}

    assert refused_or_safe(lambda: infer_rows(matrix))
    assert refused_or_safe(lambda: infer_rows(*columns))
    assert refused_or_safe(lambda: infer_rows(binary, tail=tail))
    assert refused_or_safe(lambda: v1_rows(rows))
    assert refused_or_safe(lambda: v1_rows([dict(zip(SIGNATURE.features, row, strict=True)) for row in rows]))


def a_table(**changes: dict[str, Any]) -> list[dict[str, Any]]:
    """A request with one row, some of its tensors changed."""
    return [tensor | changes.get(tensor["name"], {}) for tensor in as_columns([(50.0, 20.0, "nurse", "10")])]


REFUSED: dict[str, tuple[list[dict[str, Any]], str, str]] = {
    "a slip of the pen": (
        a_table(job={"data": ["nurs"]}),
        "category",
        "inputs[2] 'job': value 0: 'nurs' is no category of 'job'; did you mean 'nurse'? "
        "send one of 'clerk', 'driver', 'nurse'",
    ),
    "a number that is no name": (a_table(grade={"datatype": "INT64", "data": [3]}), "category", "'3' is no category"),
    "a code where words are expected": (a_table(job={"datatype": "INT64", "data": [1]}), "category", "'1' is no cat"),
    "a gap in numbers": (
        a_table(debt={"data": [None]}),
        "missing",
        "inputs[1] 'debt': value 0: is missing, but 'debt' had no gaps in training; send a number",
    ),
    "a gap in texts": (
        a_table(grade={"data": [None]}),
        "missing",
        "inputs[3] 'grade': value 0: is missing, but 'grade' had no gaps in training; send one of '1', '10', '2'",
    ),
    "an empty text": (a_table(grade={"data": [""]}), "missing", "'grade': value 0: is missing"),
    "a text for a number": (
        a_table(debt={"datatype": "BYTES", "data": ["20"]}),
        "dtype",
        "'debt' is a number; send FP64",
    ),
    "a list for a text": (a_table(job={"data": [{}]}), "dtype", "value 0: is neither a text, a number nor null"),
    "two texts for a row": (a_table(job={"data": ["nurse", "nurse"]}), "shape", "[1, 1] but data has 2 values"),
    "infinity": (a_table(income={"data": [1e999]}), "body", "body: is not JSON"),
    "a code too large": (
        [{"name": "x", "datatype": "INT64", "shape": [1, 4], "data": [50, 20, 3, 0]}],
        "category",
        "inputs[0] 'x': row 0, 'job': 3 is no code of 'job'; send a whole number from 0 to 2, or in a tensor of its "
        "own one of 'clerk', 'driver', 'nurse'",
    ),
    "half a code": (
        [{"name": "x", "datatype": "FP64", "shape": [1, 4], "data": [50, 20, 0.5, 0]}],
        "category",
        "0.5 is no code of 'job'",
    ),
    "a gap in a matrix": (
        [{"name": "x", "datatype": "FP64", "shape": [1, 4], "data": [50, None, 1, 0]}],
        "missing",
        "inputs[0] 'x': row 0, 'debt': is missing",
    ),
    "ragged rows of texts": (
        [{"name": "x", "datatype": "BYTES", "shape": [2, 4], "data": [[1, 2, "nurse", "1"], ["nurse"]]}],
        "shape",
        "data is ragged",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_neither_known_nor_an_allowed_gap_is_refused_with_its_place(name: str) -> None:
    inputs, reason, text = REFUSED[name]

    with pytest.raises(Rejected) as refused:
        infer_rows(*inputs)

    assert (refused.value.reason, refused.value.status) == (reason, 400)
    assert text in str(refused.value)


@pytest.mark.parametrize("nan", ["0100807f", "0000c07f", "ffffffff"], ids=["signalling", "quiet", "negative"])
def test_every_nan_is_a_gap(nan: str) -> None:
    income, *others = as_columns([(1.0, 20.0, "nurse", "10")])
    del income["data"]

    rows = infer_rows(
        {**income, "datatype": "FP32", "parameters": {"binary_data_size": 4}}, *others, tail=bytes.fromhex(nan)
    )

    assert np.isnan(rows[0, 0])


def test_texts_in_bytes_must_end_where_they_say_and_be_utf8() -> None:
    def refusal(data: bytes) -> str:
        (tensor,) = (tensor for tensor in a_table() if tensor["name"] == "job")
        del tensor["data"]
        others = [other for other in a_table() if other["name"] != "job"]
        with pytest.raises(Rejected) as refused:
            infer_rows({**tensor, "parameters": {"binary_data_size": len(data)}}, *others, tail=data)
        return str(refused.value)

    assert "text 0 ends behind its 8 bytes" in refusal(b"\x05\0\0\0four")
    assert "text 0 ends behind its 2 bytes" in refusal(b"\x05\0")
    assert "a text is not UTF-8" in refusal(b"\x01\0\0\0\xff")
    assert "shape [1, 1] but data has 2 values" in refusal(packed(["nurse", "nurse"]))


@pytest.mark.parametrize("kind", ["FP64", "FP16", "INT64", "UINT8", "BOOL"])
def test_null_is_a_gap_in_every_datatype_of_numbers(kind: str) -> None:
    known: int | bool = True if kind == "BOOL" else 1
    columns = as_columns([(1.0, 20.0, "nurse", "10"), (None, 20.0, "nurse", "10")])

    rows = infer_rows({**columns[0], "datatype": kind, "data": [known, None]}, *columns[1:])

    assert np.array_equal(rows[:, 0], [1.0, np.nan], equal_nan=True)


def test_many_categories_are_not_all_told() -> None:
    many = Column.of(Feature(name="town", low=0.0, high=999.0, categories=tuple(f"town-{n:03}" for n in range(1_000))))

    with pytest.raises(Rejected, match=r"did you mean 'town-7\d\d'\? send one of 'town-000', .*, … \(1000 in all\)$"):
        many.read(["town-7x"], str)


def test_booleans_mean_the_category_written_so() -> None:
    smoker = Column.of(Feature(name="smoker", low=0.0, high=1.0, categories=("FALSE", "TRUE")))

    assert smoker.read([True, False], str).tolist() == [1.0, 0.0]


@pytest.mark.parametrize(("written", "found"), [(("5", "5.0"), 0.0), (("05", "5"), 1.0), (("7", "x"), None)])
def test_a_number_means_the_category_usually_written_so(written: tuple[str, ...], found: float | None) -> None:
    column = Column.of(Feature(name="grade", low=0.0, high=1.0, categories=written))

    if found is None:
        with pytest.raises(Rejected, match="'5' is no category"):
            column.read([5], str)
    else:
        assert column.read([5], str).tolist() == [found]


def test_numbers_too_large_to_be_told_apart_must_be_sent_as_texts() -> None:
    column = Column.of(Feature(name="iban", low=0.0, high=1.0, categories=("9007199254740993", "9007199254740995")))

    with pytest.raises(Rejected, match="is too large for a name sent as a number; send its text"):
        column.read([9007199254740993], str)
    assert column.read(["9007199254740993"], str).tolist() == [0.0]


@pytest.fixture(scope="module")
def credit(tmp_path_factory: pytest.TempPathFactory, keys: Keys) -> Path:
    """A run on a table with gaps in a number and in a text, a grade that is a name, and a column of truth values."""
    folder = tmp_path_factory.mktemp("credit")
    rows = 240
    path = a_credit_file(
        folder / "credit.csv",
        rows,
        grade=[GRADES[i % 7 % 3] for i in range(rows)],
        home=["" if i % 11 == 0 else ("own", "rent")[i % 2] for i in range(rows)],
        smoker=["true" if i % 3 == 0 else "false" for i in range(rows)],
    )
    data = {
        "csv": {"path": str(path), "target": "defaulted"},
        "columns": {"categorical": ["grade"], "unknown": ["home"]},
    }
    train_config(a_credit_config(path, data=data), folder / "run", keys)
    return folder / "run"


@pytest.fixture(scope="module")
def bundle(credit: Path) -> Bundle:
    return load(open_source(credit / "bundle"), trust=AnySigner())


@pytest.fixture(scope="module")
def server(credit: Path, keys: Keys, feedback_keys: Path) -> Iterator[Server]:
    options = ("--bundle-key-dir", str(keys.public_dir), "--feedback-key-dir", str(feedback_keys))
    here = {"PILOTAGE_CLUSTER": "here"}
    with running_server(credit / "oci", *options, "--explain", "--grpc-port", "0", env=here) as running:
        yield running


def test_the_manifest_says_what_is_text_and_what_may_be_missing(bundle: Bundle) -> None:
    manifest = bundle.manifest
    features = {feature.name: feature for feature in manifest.features}

    assert (features["job"].categories, features["job"].missing) == (JOBS, False)
    assert (features["grade"].categories, features["home"].categories) == (GRADES, ("own", "rent"))
    assert [name for name, feature in features.items() if feature.missing] == ["income", "home"]
    assert decode(encode(manifest)) == manifest
    for i, feature in enumerate(manifest.features):
        assert any(row[i] is None for row in manifest.golden.rows) == feature.missing


def questions(seed: int, rows: int, bundle: Bundle) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Random rows as the model has them, and as clients send them by feature."""
    rng = np.random.default_rng(seed)
    columns, tensors = [], []
    for feature in bundle.manifest.features:
        codes = rng.integers(0, len(feature.categories), rows).astype(float) if feature.categories else None
        values = rng.uniform(feature.low, feature.high, rows) if codes is None else codes
        if feature.name == "smoker" and codes is None:
            values = np.round(values)
        if feature.missing:
            values[rng.random(rows) < 0.3] = np.nan
        columns.append(values)
        data: list[Any] = [None if value != value else value for value in values.tolist()]
        kind = "FP64"
        if feature.name == "smoker":
            kind, data = "BOOL", [bool(value) for value in data]
        elif codes is not None:
            kind, data = "BYTES", [None if value is None else feature.categories[int(value)] for value in data]
        tensors.append({"name": feature.name, "datatype": kind, "shape": [rows, 1], "data": data})
    return np.column_stack(columns), tensors


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 20))
def test_random_tables_get_the_pipelines_probabilities(seed: int, rows: int, credit: Path, bundle: Bundle) -> None:
    table, tensors = questions(seed, rows, bundle)
    features = bundle.manifest.features
    signature = Signature(
        features=tuple(feature.name for feature in features), max_rows=64, columns=tuple(map(Column.of, features))
    )
    pipeline = SklearnPredictor((credit / "bundle" / "model.skops").read_bytes(), name="model.skops")

    read = read_infer(Body(json=json.dumps({"inputs": tensors}).encode()), signature).rows

    assert np.array_equal(read, table, equal_nan=True)
    assert bundle.predictor.probabilities(read) == pytest.approx(pipeline.probabilities(table), abs=1e-5)


def test_every_protocol_answers_the_same_table_alike(server: Server, bundle: Bundle) -> None:
    table, tensors = questions(3, 40, bundle)
    flat = [None if value != value else value for value in table.reshape(-1).tolist()]
    matrix = {"name": "x", "datatype": "FP64", "shape": list(table.shape), "data": flat}
    ready = next(json.loads(line) for line in server.lines if '"server.ready"' in line)
    wanted = bundle.predictor.probabilities(table)

    def through(client: Any, module: Any) -> np.ndarray:
        inputs = []
        for tensor in tensors:
            column = module.InferInput(tensor["name"], tensor["shape"], tensor["datatype"])
            kind = {"BYTES": np.object_, "BOOL": np.bool_, "FP64": np.float64}[tensor["datatype"]]
            cells = ["" if cell is None and kind is np.object_ else cell for cell in tensor["data"]]
            column.set_data_from_numpy(np.array(cells, dtype=kind).reshape(tensor["shape"]))
            inputs.append(column)
        with client:
            found: np.ndarray = client.infer("credit", inputs).as_numpy("predict_proba")
        return found

    by_columns = server.request("POST", "/v2/models/credit/infer", {"inputs": tensors}).body["outputs"][1]["data"]
    by_codes = server.request("POST", "/v2/models/credit/infer", {"inputs": [matrix]}).body["outputs"][1]["data"]
    objects = [
        dict(zip((t["name"] for t in tensors), cells, strict=True))
        for cells in zip(*(t["data"] for t in tensors), strict=True)
    ]
    older = server.request("POST", "/v1/models/credit:predict", {"instances": objects}).body["predictions"]

    for found in (
        by_columns,
        by_codes,
        through(tritonclient.http.InferenceServerClient(f"127.0.0.1:{server.port}"), tritonclient.http),
        through(tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{ready['grpc_port']}"), tritonclient.grpc),
    ):
        assert np.array(found).reshape(-1) == pytest.approx(wanted.reshape(-1), abs=1e-12)
    assert older == [bundle.manifest.classes[i] for i in bundle.manifest.decision.decide(wanted)]


def test_the_metadata_lists_a_tensor_per_feature_and_what_is_allowed(server: Server) -> None:
    told = server.request("GET", "/v2/models/credit").body

    kinds = {one["name"]: one["datatype"] for one in told["inputs"]}
    assert all(one["shape"] == [-1, 1] for one in told["inputs"])
    assert (kinds["income"], kinds["job"], kinds["grade"]) == ("FP64", "BYTES", "BYTES")
    assert json.loads(told["parameters"]["categories"])["job"] == list(JOBS)
    assert json.loads(told["parameters"]["missing"]) == ["income", "home"]


def test_an_unknown_text_counts_as_missing_where_training_said_so(server: Server, bundle: Bundle) -> None:
    def asked(home: str | None) -> Any:
        _, tensors = questions(11, 1, bundle)
        inputs = [{**one, "data": [home]} if one["name"] == "home" else one for one in tensors]
        return server.request("POST", "/v2/models/credit/infer", {"inputs": inputs})

    told = server.request("GET", "/v2/models/credit").body["parameters"]

    assert json.loads(told["unknown_is_missing"]) == ["home"]
    assert asked("boat").body["outputs"] == asked(None).body["outputs"]
    assert asked("boat").status == 200


@pytest.mark.parametrize(("column", "lacks"), [("job", "gaps"), ("income", "texts")])
def test_unknown_texts_count_as_missing_only_where_training_has_gaps_among_texts(
    column: str, lacks: str, tmp_path: Path
) -> None:
    path = a_credit_file(tmp_path / "credit.csv")
    data = {"csv": {"path": str(path), "target": "defaulted"}, "columns": {"unknown": [column]}}

    with pytest.raises(ConfigError, match=f"data.columns.unknown: '{column}' has no {lacks} in .*; take it out"):
        train_config(a_credit_config(path, data=data), tmp_path / "run")


def test_explains_texts_and_gaps(server: Server, bundle: Bundle) -> None:
    _, tensors = questions(5, 2, bundle)

    answer = server.request("POST", "/v2/models/credit/explain", {"inputs": tensors})

    assert answer.status == 200
    contributions = np.array(answer.body["outputs"][1]["data"])
    assert len(contributions) == 2 * len(tensors)
    assert np.isfinite(contributions).all()


def test_refusals_are_counted_by_reason(server: Server, bundle: Bundle) -> None:
    def counted(reason: str) -> float:
        info = next(line for line in server.request("GET", "/metrics", admin=True).body.splitlines()
                    if line.startswith("model_rejected_total{") and f'reason="{reason}"' in line)  # fmt: skip
        return float(info.rpartition(" ")[2])

    _, tensors = questions(7, 1, bundle)
    before = counted("category"), counted("missing")
    wrong = [{**one, "data": ["pilot"]} if one["name"] == "job" else one for one in tensors]
    gap = [{**one, "data": [None]} if one["name"] == "debt" else one for one in tensors]

    statuses = [server.request("POST", "/v2/models/credit/infer", {"inputs": one}).status for one in (wrong, gap)]

    assert statuses == [400, 400]
    assert (counted("category"), counted("missing")) == (before[0] + 1, before[1] + 1)


def test_the_openapi_document_tells_what_is_allowed(server: Server) -> None:
    document = server.request("GET", "/openapi.json").body

    validate(document)
    named = document["components"]["schemas"]["NamedRow"]["properties"]
    assert named["debt"] == {"type": "number"}
    assert named["income"] == {"type": ["number", "null"]}
    assert named["job"] == {"enum": list(JOBS)}
    assert "BYTES" in document["components"]["schemas"]["Datatype"]["enum"]


def test_whatever_the_document_allows_is_answered_or_refused_as_documented(server: Server) -> None:
    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{server.port}/openapi.json")
    checks = [not_a_server_error, status_code_conformance, response_schema_conformance]

    for operation in ("infer", "predictV1"):

        @settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
        @given(schema.find_operation_by_id(operation).as_strategy())
        def every(case: Any) -> None:
            case.call_and_validate(checks=checks)

        every()
