"""A client that closes its side after asking still gets every answer, and then the connection ends."""

from __future__ import annotations

import json
import socket
import threading

import pytest

from support.serving import Server

ROW = [0.0] * 64
TENSOR = {"name": "input", "datatype": "FP64", "shape": [1, 64], "data": ROW}
INFER = json.dumps({"inputs": [TENSOR]}).encode()


def a_post(path: str, body: bytes) -> bytes:
    return f"POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


def said(server: Server, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(request)
        client.shutdown(socket.SHUT_WR)
        received = b""
        while piece := client.recv(1 << 16):
            received += piece
    return received


@pytest.mark.parametrize(
    ("request_", "answers"),
    [
        (a_post("/v2/models/digits/infer", INFER), 1),
        (a_post("/v1/models/digits:predict", json.dumps({"instances": [ROW]}).encode()), 1),
        (a_post("/v2/models/digits/feedback", b'{"feedback": [{"token": "x"}]}'), 1),
        (a_post("/v2/models/digits/infer", INFER) * 3 + b"GET /v2 HTTP/1.1\r\nhost: a\r\n\r\n", 4),
        (a_post("/v2/models/digits/infer", INFER)[:-1], 0),
        (b"GET /v2 HTTP/1.1\r\nho", 0),
    ],
    ids=["infer", "v1", "feedback", "pipelined", "half a body", "half a head"],
)
def test_whole_requests_are_answered_and_halves_are_not(request_: bytes, answers: int, digits_server: Server) -> None:
    for _ in range(10):  # the end comes with the request or just behind it
        assert said(digits_server, request_).count(b"HTTP/1.1 200 OK\r\n") == answers


def test_a_client_that_is_gone_harms_nobody(digits_server: Server) -> None:
    def leave() -> None:
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", digits_server.port), timeout=10) as client:
                client.sendall(a_post("/v2/models/digits/infer", INFER) * 5)

    leaving = threading.Thread(target=leave)
    leaving.start()
    answers = [digits_server.request("POST", "/v2/models/digits/infer", INFER).status for _ in range(20)]
    leaving.join()

    assert answers == [200] * 20
