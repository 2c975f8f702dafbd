"""What a server is told: flag, then environment, then default; parsed once, all mistakes at once.

An unknown `PILOTAGE_SERVER_*` variable is refused with the nearest name: a misspelt limit must not become a
default in silence. Variables that Kubernetes makes for Services named alike are not ours and are left alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pilotage_server.document import nearest
from pilotage_server.podroot import pod_path

PREFIX: Final = "PILOTAGE_SERVER_"
_SERVICE_LINK: Final = re.compile(rf"{PREFIX}(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP)(_\w+)?)")


class SettingsRefused(Exception):
    """Settings nobody can start with; the text names each one, its value, the rule and the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a client may ask for: bytes of a body, rows of a request, rows waiting in all; and series of a scrape."""

    body_bytes: int = 8 * 2**20
    rows: int = 4_096
    queue_rows: int = 16_384
    batch_rows: int = 256
    series: int = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Connections:
    """When a connection is asked to close: after so many requests, or seconds.

    Idle ones close after `idle_s`.
    """

    requests: int = 100
    age_s: float = 30.0
    idle_s: float = 75.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shutdown:
    """Seconds of the lame duck, of finishing what is open after it, and of waiting for a last scrape."""

    drain_s: float = 10.0
    finish_s: float = 10.0
    last_scrape_s: float = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """Who this server is, as the operator says: empty texts where nobody said."""

    model: str
    revision: str
    cluster: str
    collector_service: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeSettings:
    """Everything `run_server` needs. Key folders and the gRPC port are None where none is given."""

    bundle: Path
    host: str
    port: int
    admin_port: int
    grpc_port: int | None
    bundle_key_dir: Path | None
    feedback_key_dir: Path | None
    allow_unsigned: bool
    explain: bool
    threads: int
    limits: Limits
    connections: Connections
    shutdown: Shutdown
    pod: Pod


_KNOWN: Final = frozenset(
    {
        "BUNDLE", "HOST", "PORT", "ADMIN_PORT", "GRPC_PORT", "BUNDLE_KEY_DIR", "FEEDBACK_KEY_DIR", "ALLOW_UNSIGNED",
        "EXPLAIN", "THREADS", "MAX_BODY_BYTES", "MAX_ROWS", "MAX_QUEUE_ROWS", "MAX_SERIES", "BATCH_ROWS",
        "CONNECTION_REQUESTS", "CONNECTION_SECONDS", "IDLE_SECONDS",
        "DRAIN_SECONDS", "FINISH_SECONDS", "LAST_SCRAPE_SECONDS",
    }
)  # fmt: skip


def read_settings(flags: Mapping[str, str | None], env: Mapping[str, str]) -> ServeSettings:
    """Read settings; `flags` are keyed like the environment without its prefix. Raises `SettingsRefused`."""
    reader = _Reader(flags, env)
    settings = ServeSettings(
        bundle=reader.path("BUNDLE") or Path(),
        host=reader.text("HOST", "127.0.0.1"),
        port=reader.whole("PORT", 8080, low=0, high=65_535),
        admin_port=reader.whole("ADMIN_PORT", 8081, low=0, high=65_535),
        grpc_port=reader.optional("GRPC_PORT", low=0, high=65_535),
        bundle_key_dir=reader.path("BUNDLE_KEY_DIR", also="PILOTAGE_BUNDLE_KEY_DIR"),
        feedback_key_dir=reader.path("FEEDBACK_KEY_DIR", also="PILOTAGE_FEEDBACK_KEY_DIR"),
        allow_unsigned=reader.flag("ALLOW_UNSIGNED"),
        explain=reader.flag("EXPLAIN"),
        threads=reader.whole("THREADS", 1, low=1, high=256),
        limits=Limits(
            body_bytes=reader.whole("MAX_BODY_BYTES", Limits().body_bytes, low=1_024, high=2**30),
            rows=reader.whole("MAX_ROWS", Limits().rows, low=1, high=65_535),
            queue_rows=reader.whole("MAX_QUEUE_ROWS", Limits().queue_rows, low=1, high=10**7),
            batch_rows=reader.whole("BATCH_ROWS", Limits().batch_rows, low=1, high=10**6),
            series=reader.whole("MAX_SERIES", Limits().series, low=100, high=10**7),
        ),
        connections=Connections(
            requests=reader.whole("CONNECTION_REQUESTS", Connections().requests, low=1, high=10**9),
            age_s=reader.seconds("CONNECTION_SECONDS", Connections().age_s),
            idle_s=reader.seconds("IDLE_SECONDS", Connections().idle_s),
        ),
        shutdown=Shutdown(
            drain_s=reader.seconds("DRAIN_SECONDS", Shutdown().drain_s),
            finish_s=reader.seconds("FINISH_SECONDS", Shutdown().finish_s),
            last_scrape_s=reader.seconds("LAST_SCRAPE_SECONDS", Shutdown().last_scrape_s),
        ),
        pod=Pod(
            model=env.get("PILOTAGE_MODEL", ""),
            revision=env.get("PILOTAGE_REVISION", ""),
            cluster=env.get("PILOTAGE_CLUSTER", ""),
            collector_service=env.get("PILOTAGE_COLLECTOR_SERVICE", ""),
        ),
    )
    reader.check(settings)
    return settings


class _Reader:
    """Looks a setting up where it may stand, and collects what is wrong."""

    def __init__(self, flags: Mapping[str, str | None], env: Mapping[str, str]) -> None:
        self._flags = flags
        self._env = env
        self._mistakes: list[str] = []

    def _find(self, key: str, also: str = "") -> tuple[str, str | None]:
        """Give the name a value was found under, and the value.

        A Service's own `…_PORT=tcp://…` is no value.
        """
        flag = self._flags.get(key)
        if flag is not None:
            return f"--{key.lower().replace('_', '-')}", flag
        for name in (PREFIX + key, also):
            value = self._env.get(name)
            if value is not None and not value.startswith("tcp://"):
                return name, value
        return PREFIX + key, None

    def text(self, key: str, default: str) -> str:
        return self._find(key)[1] or default

    def path(self, key: str, *, also: str = "") -> Path | None:
        value = self._find(key, also)[1]
        return pod_path(value, self._env) if value else None

    def flag(self, key: str) -> bool:
        name, value = self._find(key)
        if value not in (None, "true", "false"):
            self._mistakes.append(f"{name}: {value!r} is neither true nor false")
        return value == "true"

    def whole(self, key: str, default: int, *, low: int, high: int) -> int:
        name, value = self._find(key)
        if value is None:
            return default
        if not re.fullmatch(r"-?\d{1,18}", value) or not low <= int(value) <= high:
            self._mistakes.append(f"{name}: {value!r} is not a whole number from {low} to {high}")
            return default
        return int(value)

    def optional(self, key: str, *, low: int, high: int) -> int | None:
        return None if self._find(key)[1] is None else self.whole(key, low, low=low, high=high)

    def seconds(self, key: str, default: float) -> float:
        name, value = self._find(key)
        if value is None:
            return default
        if not re.fullmatch(r"\d{1,5}(\.\d{1,6})?", value):
            self._mistakes.append(f"{name}: {value!r} is not a number of seconds from 0 to 99999")
            return default
        return float(value)

    def check(self, settings: ServeSettings) -> None:
        """Refuse what is unknown, missing or contradicts itself, together with every earlier mistake."""
        for name in sorted(self._env):
            key = name.removeprefix(PREFIX)
            if name.startswith(PREFIX) and key not in _KNOWN and not _SERVICE_LINK.fullmatch(name):
                # Compared without the prefix: with it every name resembles every other.
                hint = nearest(key, sorted(_KNOWN)).replace("'", f"'{PREFIX}", 1)
                self._mistakes.append(f"{name}: unknown setting; {hint}")
        if settings.bundle == Path():
            self._mistakes.append("--bundle: is missing; name the folder or OCI layout of the model")
        if settings.bundle_key_dir and settings.allow_unsigned:
            self._mistakes.append("--allow-unsigned: contradicts the bundle keys that are given; leave one of them out")
        if not settings.bundle_key_dir and not settings.allow_unsigned:
            self._mistakes.append(
                "--bundle-key-dir: is missing; name the folder with your signers' *.pub files, "
                "or serve unverified bundles with --allow-unsigned (by hand only)"
            )
        if settings.feedback_key_dir and not settings.pod.cluster:
            self._mistakes.append("PILOTAGE_CLUSTER: is missing; feedback tokens name the cluster that issues them")
        if self._mistakes:
            raise SettingsRefused("\n".join(self._mistakes))
