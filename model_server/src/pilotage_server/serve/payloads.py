"""The opt-in payload log: what was asked under which token, for retraining. Off unless a sink is named.

One JSON line per request, `{"token", "time", "rows"}`: seconds since 1970, and the rows as the client sent them, texts
as texts, null for what is missing or redacted. The data plane only puts a request into a bounded queue; a thread
encodes and writes. A sink that fails or lags costs lines, which are counted, never requests. Knows no HTTP server.
"""

from __future__ import annotations

import queue
import random
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import orjson
import structlog
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Counter

from pilotage_server.bundle.manifest import Feature
from pilotage_server.serve.settings import PayloadSettings, SettingsRefused

_log = structlog.get_logger(__name__)

STDOUT: Final = "-"
_WAITING: Final = 10_000
_WAITING_BYTES: Final = 32 * 2**20
_TOGETHER: Final = 500
_TIMEOUT_S: Final = 5.0
_Entry = tuple[str, float, NDArray[np.float64]]


class Sink(Protocol):
    """Where lines go; raises OSError when they cannot."""

    def write(self, lines: bytes) -> None:
        """Take whole lines."""

    def close(self) -> None:
        """Take no more."""


class PayloadLog:
    """Logs a share of the requests of one pod. `add` is for the event loop, everything else happens in a thread."""

    def __init__(
        self,
        sink: Sink,
        features: Sequence[Feature],
        settings: PayloadSettings,
        registry: CollectorRegistry,
        labels: Mapping[str, str],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        unknown = set(settings.redact) - {feature.name for feature in features}
        if unknown:
            raise SettingsRefused(f"PILOTAGE_SERVER_PAYLOAD_REDACT: {', '.join(sorted(unknown))}: no feature of this "
                                  "model; correct the name")  # fmt: skip
        self._sink = sink
        self._share = settings.share
        self._redacted = [i for i, feature in enumerate(features) if feature.name in settings.redact]
        self._texts = {i: feature.categories for i, feature in enumerate(features) if feature.categories}
        self._clock = clock
        self._waiting: queue.Queue[_Entry | None] = queue.Queue(_WAITING)
        self._added_bytes = self._written_bytes = 0  # one is the event loop's, one the thread's: no lock
        counter = Counter("model_payload_requests", "Requests meant for the payload log, by what became of them.",
                          (*labels, "result"), registry=registry)  # fmt: skip
        self._logged, self._dropped = (counter.labels(*labels.values(), name) for name in ("logged", "dropped"))
        self._thread = threading.Thread(target=self._run, name="payloads", daemon=True)
        self._thread.start()

    def add(self, token: str, rows: NDArray[np.float64]) -> None:
        """Note one answered request; drops it, counted, when the sink lags behind."""
        if self._share < 1.0 and random.random() >= self._share:  # noqa: S311
            return
        waiting_bytes = self._added_bytes - self._written_bytes
        if waiting_bytes and waiting_bytes + rows.nbytes > _WAITING_BYTES:
            self._dropped.inc()
            return
        try:
            self._waiting.put_nowait((token, self._clock(), rows.copy()))
        except queue.Full:
            self._dropped.inc()
        else:
            self._added_bytes += rows.nbytes

    def close(self, timeout_s: float) -> None:
        """Write what waits, for so many seconds at most."""
        try:
            self._waiting.put(None, timeout=timeout_s)
        except queue.Full:
            return
        self._thread.join(timeout_s)
        if not self._thread.is_alive():
            self._sink.close()

    def _run(self) -> None:
        was_failing, open_ = False, True
        while open_:
            entries = [self._waiting.get()]
            while len(entries) < _TOGETHER and not self._waiting.empty():
                entries.append(self._waiting.get())
            open_ = None not in entries
            known = [entry for entry in entries if entry is not None]
            try:
                self._sink.write(b"".join(map(self._line, known)))
            except OSError as error:
                self._dropped.inc(len(known))
                if not was_failing:  # once, not per request
                    _log.warning("payload.dropped", reason=str(error))
                was_failing = True
            else:
                self._logged.inc(len(known))
                was_failing = False
            self._written_bytes += sum(rows.nbytes for _, _, rows in known)

    def _line(self, entry: _Entry) -> bytes:
        token, at, rows = entry
        cells: list[list[Any]] = rows.tolist()
        for row in cells:
            for i, texts in self._texts.items():
                code = row[i]
                row[i] = texts[int(code)] if 0 <= code < len(texts) else None
            for i in self._redacted:
                row[i] = None
        # orjson writes NaN as null.
        return orjson.dumps({"token": token, "time": round(at, 3), "rows": cells}) + b"\n"


class Stdout:
    """Lines on stdout, where nothing else of the server goes: for a log agent to take."""

    def write(self, lines: bytes) -> None:
        """Take whole lines."""
        sys.stdout.buffer.write(lines)
        sys.stdout.buffer.flush()

    def close(self) -> None:
        """Stdout is not ours to close."""


class File:
    """Lines appended to a file, up to a size. A folder gets one file per pod."""

    def __init__(self, path: Path, pod: str, most_bytes: int) -> None:
        self.path = path / f"{pod or 'payload'}.jsonl" if path.is_dir() else path
        self._file = self.path.open("ab", buffering=0)
        self._left = most_bytes - self._file.tell()

    def write(self, lines: bytes) -> None:
        """Take whole lines."""
        if len(lines) > self._left:
            raise OSError(
                f"{self.path} has reached PILOTAGE_SERVER_PAYLOAD_MAX_BYTES; move it away and restart the pod"
            )
        start = self._file.seek(0, 2)
        if (written := self._file.write(lines)) < len(lines):  # a full disk takes a part: half a line helps nobody
            self._file.truncate(start)
            raise OSError(f"{self.path}: {written} of {len(lines)} bytes were written; is the volume full?")
        self._left -= len(lines)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Post:
    """Lines POSTed as application/x-ndjson; anything but a 2xx answer loses them, a redirection too."""

    def __init__(self, url: str) -> None:
        self._url = url

    def write(self, lines: bytes) -> None:
        """Take whole lines."""
        if not lines:
            return
        import http.client  # slow to import, and most servers post nothing
        import urllib.request

        class Stay(urllib.request.HTTPRedirectHandler):
            def redirect_request(self, *_: Any) -> None:
                """Follow nowhere: the lines would be left behind, and the answer look like success."""

        headers = {"content-type": "application/x-ndjson"}
        request = urllib.request.Request(self._url, data=lines, headers=headers)  # noqa: S310 (http or https only)
        try:
            with urllib.request.build_opener(Stay).open(request, timeout=_TIMEOUT_S):  # OSError for 3xx to 5xx, too
                pass
        except (http.client.HTTPException, ValueError) as error:
            raise OSError(f"{type(error).__name__}: {error}") from error

    def close(self) -> None:
        """Every request had a connection of its own."""


def open_sink(settings: PayloadSettings, pod: str) -> Sink:
    """Open what `--payload-log` names; raises `SettingsRefused`."""
    if settings.target == STDOUT:
        return Stdout()
    if settings.target.startswith(("http://", "https://")):
        return Post(settings.target)
    try:
        return File(settings.path, pod, settings.most_bytes)
    except OSError as error:
        raise SettingsRefused(f"--payload-log {settings.path}: cannot be written ({error.strerror}); name a file or "
                              "folder on a writable volume, - for stdout, or an http(s) URL") from error  # fmt: skip
