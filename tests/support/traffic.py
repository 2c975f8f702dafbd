"""Steady traffic from threads, on keep-alive connections and never retried: what came back, request by request."""

from __future__ import annotations

import http.client
import threading
from collections import Counter
from types import TracebackType
from urllib.parse import urlsplit


class Traffic:
    """Clients that ask one after the other for as long as the block lasts.

    `codes` counts answers by status code; failures without an answer count as code 0 and are told in `failures`.
    """

    def __init__(self, url: str, *, host: str | None = None, clients: int = 4, pause_s: float = 0.005) -> None:
        self.codes: Counter[int] = Counter()
        self.bodies: Counter[str] = Counter()
        self.failures: list[str] = []
        self._url = urlsplit(url)
        self._target = (self._url.path or "/") + (f"?{self._url.query}" if self._url.query else "")
        self._headers = {"Host": host} if host else {}
        self._pause_s = pause_s
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(clients)]

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(30)

    @property
    def sent(self) -> int:
        """Requests that are over."""
        return sum(self.codes.values())

    def _run(self) -> None:
        connection = http.client.HTTPConnection(self._url.hostname or "", self._url.port, timeout=10)
        while not self._stopped.wait(self._pause_s):
            try:
                connection.request("GET", self._target, headers=self._headers)
                response = connection.getresponse()
                body = response.read().decode()
                code = response.status
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                code, body = 0, repr(error)
            with self._lock:
                self.codes[code] += 1
                if code == 200:
                    self.bodies[body] += 1
                else:
                    self.failures.append(f"{code} {body}")
        connection.close()
