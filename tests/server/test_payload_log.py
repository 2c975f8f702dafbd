"""The payload log: off unless asked for, what the client sent under the token it got, and never in the way."""

from __future__ import annotations

import http.server
import json
import socketserver
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from pilotage_server.bundle.manifest import Feature
from pilotage_server.serve import SettingsRefused, payloads, read_settings
from pilotage_server.serve.payloads import File, PayloadLog, Post, Sink
from pilotage_server.serve.settings import PayloadSettings
from support.serving import running_server

FEATURES = (
    Feature(name="age", low=0, high=99),
    Feature(name="town", low=0, high=1, categories=("Bremen", "Köln")),
)
ROW = {"inputs": [{"name": "x", "datatype": "FP64", "shape": [1, 4], "data": [5.1, 3.5, 1.4, 0.2]}]}
QUICK = {f"PILOTAGE_SERVER_{name}_SECONDS": "0" for name in ("DRAIN", "LAST_SCRAPE")}


class Kept:
    """A sink that keeps lines, or waits, or fails."""

    def __init__(self, error: OSError | None = None) -> None:
        self.lines: list[Any] = []
        self.may_go = threading.Event()
        self.may_go.set()
        self.was_asked = threading.Event()
        self._error = error

    def write(self, lines: bytes) -> None:
        self.was_asked.set()
        self.may_go.wait(10)
        if self._error and lines:
            raise self._error
        self.lines += [json.loads(line) for line in lines.splitlines()]

    def close(self) -> None:
        """Keep what was kept."""


class Logged:
    """A payload log with its counters."""

    def __init__(self, sink: Sink, **settings: Any) -> None:
        self._registry = CollectorRegistry()
        wanted = PayloadSettings(target="-", path=Path("-"), **settings)
        self.log = PayloadLog(sink, FEATURES, wanted, self._registry, {"model": "m"}, clock=lambda: 1_000.25)

    def count(self, result: str) -> float | None:
        return self._registry.get_sample_value("model_payload_requests_total", {"model": "m", "result": result})


def test_rows_are_logged_as_sent_with_texts_and_gaps() -> None:
    kept = Kept()
    logged = Logged(kept)

    logged.log.add("t1", np.array([[41.0, 1.0], [np.nan, 0.0]]))
    logged.log.add("t2", np.array([[7.5, 5.0]]))  # a text training did not know
    logged.log.close(5)

    assert kept.lines == [
        {"token": "t1", "time": 1000.25, "rows": [[41.0, "Köln"], [None, "Bremen"]]},
        {"token": "t2", "time": 1000.25, "rows": [[7.5, None]]},
    ]
    assert (logged.count("logged"), logged.count("dropped")) == (2, 0)


def test_a_row_changed_afterwards_is_logged_as_it_was() -> None:
    kept, row = Kept(), np.array([[41.0, 1.0]])
    logged = Logged(kept)

    logged.log.add("t1", row)
    row[:] = 0
    logged.log.close(5)

    assert kept.lines[0]["rows"] == [[41.0, "Köln"]]


def test_redacted_columns_never_leave_and_unknown_ones_are_refused() -> None:
    kept = Kept()
    logged = Logged(kept, redact=("town",))

    logged.log.add("t1", np.array([[41.0, 1.0]]))
    logged.log.close(5)

    assert kept.lines[0]["rows"] == [[41.0, None]]
    with pytest.raises(SettingsRefused, match="PAYLOAD_REDACT: twon: no feature of this model"):
        Logged(Kept(), redact=("twon",))


def test_a_share_of_requests_is_a_share() -> None:
    kept = Kept()
    logged = Logged(kept, share=0.25)

    for i in range(4_000):
        logged.log.add(f"t{i}", np.array([[1.0, 0.0]]))
        if i % 1_000 == 0:
            kept.was_asked.wait(0.1)  # lets the writer keep up, so that none is dropped
    logged.log.close(5)

    assert 800 < len(kept.lines) < 1_200


def test_a_sink_that_lags_costs_lines_and_never_a_wait() -> None:
    kept = Kept()
    kept.may_go.clear()
    logged = Logged(kept)

    for i in range(12_000):
        logged.log.add(f"t{i}", np.array([[1.0, 0.0]]))
    kept.may_go.set()
    logged.log.close(5)

    dropped = logged.count("dropped")
    assert dropped is not None
    assert 1_000 <= dropped <= 2_000
    assert len(kept.lines) == 12_000 - dropped


def test_what_waits_has_a_size_and_not_only_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payloads, "_WAITING_BYTES", 32_000)
    kept = Kept()
    kept.may_go.clear()
    logged = Logged(kept)
    large, larger = np.zeros((500, 2)), np.zeros((5_000, 2))  # 8 and 80 kB

    for i in range(7):
        logged.log.add(f"t{i}", large)
    dropped = logged.count("dropped")
    kept.may_go.set()
    logged.log.close(10)
    alone = Logged(Kept())
    alone.log.add("t", larger)
    alone.log.close(10)

    assert (dropped, len(kept.lines)) == (3, 4)
    assert alone.count("logged") == 1


def test_a_sink_that_fails_is_counted_and_asked_again() -> None:
    kept = Kept(OSError("no space left"))
    logged = Logged(kept)

    logged.log.add("t1", np.array([[1.0, 0.0]]))
    logged.log.close(5)

    assert (logged.count("logged"), logged.count("dropped")) == (0, 1)


def test_a_folder_gets_a_file_per_pod_and_a_full_file_takes_no_more(tmp_path: Path) -> None:
    (tmp_path / "digits-1.jsonl").write_bytes(b"earlier\n")
    file = File(tmp_path, "digits-1", most_bytes=20)

    file.write(b"next line\n")
    with pytest.raises(OSError, match="has reached PILOTAGE_SERVER_PAYLOAD_MAX_BYTES"):
        file.write(b"one too many\n")
    file.close()

    assert (tmp_path / "digits-1.jsonl").read_bytes() == b"earlier\nnext line\n"


def test_lines_are_posted_as_ndjson_and_lost_when_refused() -> None:
    posted: list[tuple[str | None, bytes]] = []

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            posted.append((self.headers["content-type"], body))
            self.send_response(204 if body == b"good\n" else 500)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Keep quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        sink = Post(f"http://127.0.0.1:{server.server_address[1]}/payloads")
        sink.write(b"good\n")
        with pytest.raises(OSError, match="500"):
            sink.write(b"bad\n")
        server.shutdown()
        thread.join()

    assert posted == [("application/x-ndjson", b"good\n"), ("application/x-ndjson", b"bad\n")]


@pytest.mark.parametrize(
    ("answer", "says"),
    [(b"SSH-2.0-somebody\r\n", "BadStatusLine"), (b"HTTP/1.1 302 Found\r\nlocation: /login\r\n\r\n", "302")],
)
def test_what_takes_no_lines_costs_them_and_not_the_log(answer: bytes, says: str) -> None:
    asked: list[bytes] = []

    class Stranger(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            asked.append(self.rfile.readline())
            while self.rfile.readline().strip():
                pass
            self.rfile.read(len(b"line\n"))
            self.wfile.write(answer)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Stranger) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        with pytest.raises(OSError, match=says):
            Post(f"http://127.0.0.1:{server.server_address[1]}/payloads").write(b"line\n")
        server.shutdown()
        thread.join()

    assert asked == [b"POST /payloads HTTP/1.1\r\n"]


def test_it_needs_tokens_and_sensible_settings() -> None:
    good = {"BUNDLE": "/b", "ALLOW_UNSIGNED": "true"}
    assert read_settings(good, {}).payloads is None

    with pytest.raises(SettingsRefused) as refused:
        read_settings({**good, "PAYLOAD_LOG": "-"}, {"PILOTAGE_SERVER_PAYLOAD_SHARE": "2"})

    assert str(refused.value).splitlines() == [
        "PILOTAGE_SERVER_PAYLOAD_SHARE: '2' is not a share above 0 and up to 1",
        "--payload-log: needs --feedback-key-dir; a line is of use only with the token that its label will name",
    ]


def test_a_server_logs_what_it_answered_under_the_token_it_gave(
    iris: Path, feedback_keys: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    log.mkdir()
    flags = ["--allow-unsigned", "--feedback-key-dir", str(feedback_keys), "--payload-log", str(log)]

    with running_server(
        iris / "bundle", *flags, env={"PILOTAGE_CLUSTER": "aws", "POD_NAME": "iris-7", **QUICK}
    ) as server:
        answers = [server.request("POST", "/v2/models/iris/infer", ROW).body for _ in range(3)]
        server.request("POST", "/v1/models/iris:predict", {"instances": [[5.9, 3.0, 5.1, 1.8]]})
        server.terminate()
        assert server.process.wait(20) == 0

    lines = [json.loads(line) for line in (log / "iris-7.jsonl").read_text().splitlines()]
    assert [line["token"] for line in lines[:3]] == [one["parameters"]["feedback_token"] for one in answers]
    assert [line["rows"] for line in lines] == [[[5.1, 3.5, 1.4, 0.2]]] * 3 + [[[5.9, 3.0, 5.1, 1.8]]]


def test_a_log_that_cannot_be_written_stops_the_start(iris: Path, feedback_keys: Path, tmp_path: Path) -> None:
    flags = ["--allow-unsigned", "--feedback-key-dir", str(feedback_keys)]

    with (
        pytest.raises(AssertionError, match=r"--payload-log .*cannot be written \(No such file or directory\)"),
        running_server(
            iris / "bundle", *flags, f"--payload-log={tmp_path}/none/log.jsonl", env={"PILOTAGE_CLUSTER": "aws"}
        ),
    ):
        pass
