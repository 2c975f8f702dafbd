"""A real Prometheus that scrapes one scripted target five times a second, and a way to ask it.

`Exporter` holds the counters as text lines; a test changes them and waits until a scrape has seen the change. Each
test uses a model name of its own, so tests share one server without seeing each other.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import urlopen

from localclouds import binaries
from pilotage.evidence import Refused, Unreachable
from support.polling import eventually

SCRAPE_S = 0.2


class Exporter:
    """Counters of any number of collectors and servers, as one scrape target."""

    def __init__(self) -> None:
        self._values: dict[str, float] = {}
        self._lock = threading.Lock()
        self.scrapes = 0
        self.fails = False

    def set(self, series: str, value: float) -> None:
        """Set one series, written as in the exposition format: `name{label="value"}`."""
        with self._lock:
            self._values[series] = value

    def add(self, series: str, by: float = 1) -> None:
        """Count `by` more."""
        with self._lock:
            self._values[series] = self._values.get(series, 0) + by

    def drop(self, fragment: str) -> None:
        """Forget every series whose text contains `fragment`."""
        with self._lock:
            self._values = {series: value for series, value in self._values.items() if fragment not in series}

    def all(self) -> list[tuple[str, float]]:
        """Every series and its value."""
        with self._lock:
            return list(self._values.items())

    def text(self) -> bytes:
        """One consistent exposition of everything."""
        with self._lock:
            self.scrapes += 1
            return "".join(f"{series} {value:g}\n" for series, value in self._values.items()).encode()

    def scrape_fails(self) -> None:
        """Let at least one scrape fail: every series is stale until the next."""
        self.fails = True
        self.scraped()
        self.fails = False

    def scraped(self) -> None:
        """Return once everything set before this call has been scraped and committed."""
        wanted = self.scrapes + 2
        eventually(lambda: self.scrapes >= wanted, within_s=20)


class Prometheus:
    """A running server: `url`, its `exporter`, and `fetch` as `pilotage.evidence` wants it."""

    def __init__(self, url: str, exporter: Exporter) -> None:
        self.url = url
        self.exporter = exporter

    async def fetch(self, cluster: str, expression: str, at: float | None) -> bytes:
        """The body of an instant query; errors as the operator's transport raises them."""
        del cluster
        return await asyncio.to_thread(self._get, expression, at)

    def _get(self, expression: str, at: float | None) -> bytes:
        asked = {"query": expression, **({} if at is None else {"time": f"{at:.3f}"})}
        try:
            with urlopen(f"{self.url}/api/v1/query?{urlencode(asked)}", timeout=10) as response:
                body: bytes = response.read()
                return body
        except HTTPError as error:
            raise Refused(f"{self.url} answered {error.code}: {error.read(200).decode(errors='replace')}") from error
        except URLError as error:
            raise Unreachable(f"{self.url}: {error.reason}") from error


@contextmanager
def running_prometheus(folder: Path) -> Iterator[Prometheus]:
    """Start exporter and server on loopback, and end both."""
    exporter = Exporter()
    with _serving(exporter) as target:
        port = _free_port()
        (folder / "prometheus.yaml").write_text(_configuration(target))
        command = [
            str(binaries.ensure()["prometheus"]),
            f"--config.file={folder}/prometheus.yaml",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=error",
        ]
        with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
            try:
                server = Prometheus(f"http://127.0.0.1:{port}", exporter)
                eventually(lambda: _ready(server.url), within_s=20)
                yield server
            finally:
                process.kill()


@contextmanager
def _serving(exporter: Exporter) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = exporter.text()
            self.send_response(500 if exporter.fails else 200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """A scraper that was stopped in the middle of an answer is no error."""

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def _configuration(target: str) -> str:
    return (
        f"global: {{scrape_interval: {SCRAPE_S * 1000:.0f}ms, scrape_timeout: {SCRAPE_S * 1000:.0f}ms}}\n"
        f"scrape_configs:\n- job_name: pods\n  honor_labels: true\n  static_configs: [{{targets: ['{target}']}}]\n"
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _ready(url: str) -> bool:
    try:
        with urlopen(f"{url}/-/ready", timeout=1) as response:
            return bool(response.status == 200)
    except OSError:
        return False
