"""Bundles and real server processes for tests: trained once per session, started on free loopback ports."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pilotage_server.bundle.signature import new_key_pair, read_signing_key
from pilotage_server.train.config import read_config
from pilotage_server.train.run import Result, train

SERVER = Path(sys.executable).with_name("pilotage-server")
TRAINER = Path(sys.executable).with_name("pilotage-model")
IRIS = {
    "name": "iris",
    "data": {"dataset": "iris"},
    "split": {"seed": 7, "test": 0.3},
    "model": {"estimator": "logistic-regression"},
}
DIGITS = {
    "name": "digits",
    "data": {"dataset": "digits"},
    "split": {"seed": 7, "test": 0.1, "holdback": 0.4},
    "model": {"estimator": "logistic-regression", "params": {"C": 0.1}},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """A signer: the private key's file, and the folder a cluster would mount with its public key."""

    private: Path
    public_dir: Path


def make_keys(folder: Path, name: str = "release") -> Keys:
    """Write a fresh key pair."""
    private, public = new_key_pair()
    trusted = folder / "trusted"
    trusted.mkdir(parents=True)
    (folder / f"{name}.key").write_bytes(private)
    (trusted / f"{name}.pub").write_bytes(public)
    return Keys(private=folder / f"{name}.key", public_dir=trusted)


def a_config(base: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """A valid configuration with some top-level sections replaced."""
    return {**base, **changes}


def train_config(config: Mapping[str, Any], out: Path, keys: Keys | None = None) -> Result:
    """Train in this process; the configuration is written and read like a user's."""
    out.mkdir(parents=True, exist_ok=True)
    written = out.with_name(f"{out.name}.yaml")
    written.write_text(yaml.safe_dump(dict(config)))
    return train(read_config(written), out, key=read_signing_key(keys.private) if keys else None)


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on now, all different."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer, its body decoded."""

    status: int
    headers: Mapping[str, str]
    body: Any


@dataclass
class Server:
    """A running `pilotage-server serve`."""

    process: subprocess.Popen[str]
    port: int = 0
    admin_port: int = 0
    lines: list[str] = field(default_factory=list)

    def request(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None, *, admin: bool = False
    ) -> Answer:
        """One request on a connection of its own; a body that is not bytes is sent as JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port if admin else self.port, timeout=20)
        try:
            raw = body if isinstance(body, bytes | None) else json.dumps(body).encode()
            connection.request(method, path, body=raw, headers=dict(headers or {}))
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        is_json = response.headers.get("content-type") == "application/json"
        is_text = (response.headers.get("content-type") or "text/").startswith("text/")
        decoded = json.loads(content) if is_json and content else content.decode() if is_text else content
        return Answer(response.status, {name.lower(): value for name, value in response.headers.items()}, decoded)

    def metric(self, sample: str) -> float:
        """The value of one sample, named as the exposition writes it."""
        text = self.request("GET", "/metrics", admin=True).body
        for line in text.splitlines():
            if line.startswith(f"{sample} "):
                return float(line.rpartition(" ")[2])
        raise AssertionError(f"no sample {sample} in\n{text}")

    def terminate(self) -> None:
        """Ask it to end, as a kubelet does."""
        self.process.send_signal(signal.SIGTERM)


def serve_command(bundle: Path, *extra: str) -> list[str]:
    """The command line of a server on free ports."""
    return [str(SERVER), "serve", "--bundle", str(bundle), "--port", "0", "--admin-port", "0", *extra]


@contextmanager
def running_server(bundle: Path, *extra: str, env: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Start a server, wait until it says it is ready, and see that it is gone afterwards."""
    process = subprocess.Popen(
        serve_command(bundle, *extra), stderr=subprocess.PIPE, text=True, env={**os.environ, **(env or {})}
    )
    server = Server(process=process)
    reader = threading.Thread(target=server.lines.extend, args=(process.stderr,), daemon=True)
    try:
        assert process.stderr is not None
        for line in process.stderr:
            server.lines.append(line)
            if '"server.ready"' in line:
                said = json.loads(line)
                server.port, server.admin_port = said["port"], said["admin_port"]
                break
        else:
            raise AssertionError(f"the server ended with {process.wait()}: {''.join(server.lines)}")
        reader.start()
        yield server
    finally:
        process.kill()
        process.wait()
        if reader.ident is not None:
            reader.join(timeout=5)
        assert process.stderr is not None
        process.stderr.close()
