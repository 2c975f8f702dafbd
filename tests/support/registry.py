"""A registry that speaks the OCI distribution specification on loopback: token login, uploads, redirects to storage.

What real ones do and clients get wrong is in it: a 401 before anything, a token realm, upload places with a query of
their own, blobs served by another host that refuses foreign credentials.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

LOGIN = "Basic " + base64.b64encode(b"pusher:secret").decode()
TOKEN = "Bearer a-token"


@dataclass
class RegistryState:
    """What the registry holds, and what it was asked."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    address: str = ""
    storage: str = ""


def _handler(state: RegistryState) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None: ...

        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            state.requests.append(f"{self.command} {path}")
            if path == "/token":
                granted = self.headers.get("authorization") == LOGIN
                self._answer(200 if granted else 401, json.dumps({"token": "a-token"}).encode() if granted else b"")
            elif path.startswith("/storage/"):
                assert "authorization" not in self.headers, "a login must not leave the registry"
                self._answer(200, state.blobs[path.removeprefix("/storage/")])
            elif self._may():
                self._read(path)

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_POST(self) -> None:
            if self._may():
                self._answer(202, b"", {"location": "/v2/models/digits/blobs/uploads/1?state=x"})

        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            state.requests.append(f"PUT {urlsplit(self.path).path}")
            if not self._may():
                return
            digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
            parts = urlsplit(self.path)
            if "/manifests/" in parts.path:
                state.manifests[parts.path.rpartition("/")[2]] = state.manifests[digest] = body
                self._answer(201, b"")
            elif parse_qs(parts.query) == {"state": ["x"], "digest": [digest]}:
                state.blobs[digest] = body
                self._answer(201, b"")
            else:
                self._answer(400, json.dumps({"errors": [{"code": "DIGEST_INVALID", "message": "no"}]}).encode())

        def _read(self, path: str) -> None:
            kind, name = path.split("/")[-2:]
            if name not in (state.blobs if kind == "blobs" else state.manifests):
                self._answer(404, json.dumps({"errors": [{"code": "MANIFEST_UNKNOWN", "message": "none"}]}).encode())
            elif kind == "manifests":
                self._answer(200, state.manifests[name])
            elif self.command == "HEAD":
                self._answer(200, b"")
            else:
                self._answer(307, b"", {"location": f"http://{state.storage}/storage/{name}"})

        def _may(self) -> bool:
            if self.headers.get("authorization") == TOKEN:
                return True
            realm = f'Bearer realm="http://{state.address}/token",service="registry"'
            self._answer(401, b"", {"www-authenticate": realm})
            return False

        def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

    return Handler


@contextmanager
def a_registry() -> Iterator[RegistryState]:
    """A registry on a free port, its blobs served from a second one."""
    state = RegistryState()
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), _handler(state)) for _ in range(2)]
    state.address, state.storage = (f"127.0.0.1:{server.server_port}" for server in servers)
    threads = [threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield state
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
