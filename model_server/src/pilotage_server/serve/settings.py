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
from pilotage_server.serve.lookup import PREFIX, Lookup

_SERVICE_LINK: Final = re.compile(rf"{PREFIX}(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP)(_\w+)?)")

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")


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
class PayloadSettings:
    """Where requests are logged for retraining: `-` (stdout), an http(s) URL, or `path`.

    `share` of requests, without the columns in `redact`; a file stops at `most_bytes`.
    """

    target: str
    path: Path
    share: float = 1.0
    redact: tuple[str, ...] = ()
    most_bytes: int = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """Who this server is, as the operator says: empty texts where nobody said."""

    model: str
    revision: str
    cluster: str
    collector_service: str
    name: str = ""


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
    payloads: PayloadSettings | None = None


_KNOWN: Final = frozenset(
    {
        "BUNDLE", "HOST", "PORT", "ADMIN_PORT", "GRPC_PORT", "BUNDLE_KEY_DIR", "FEEDBACK_KEY_DIR", "ALLOW_UNSIGNED",
        "EXPLAIN", "THREADS", "MAX_BODY_BYTES", "MAX_ROWS", "MAX_QUEUE_ROWS", "MAX_SERIES", "BATCH_ROWS",
        "CONNECTION_REQUESTS", "CONNECTION_SECONDS", "IDLE_SECONDS",
        "DRAIN_SECONDS", "FINISH_SECONDS", "LAST_SCRAPE_SECONDS",
        "PAYLOAD_LOG", "PAYLOAD_SHARE", "PAYLOAD_REDACT", "PAYLOAD_MAX_BYTES",
    }
)  # fmt: skip


def read_settings(flags: Mapping[str, str | None], env: Mapping[str, str]) -> ServeSettings:
    """Read settings; `flags` are keyed like the environment without its prefix. Raises `SettingsRefused`."""
    lookup = Lookup(flags, env)
    settings = ServeSettings(
        bundle=lookup.path("BUNDLE") or Path(),
        host=lookup.text("HOST", "127.0.0.1"),
        port=lookup.whole("PORT", 8080, low=0, high=65_535),
        admin_port=lookup.whole("ADMIN_PORT", 8081, low=0, high=65_535),
        grpc_port=lookup.optional("GRPC_PORT", low=0, high=65_535),
        bundle_key_dir=lookup.path("BUNDLE_KEY_DIR", also="PILOTAGE_BUNDLE_KEY_DIR"),
        feedback_key_dir=lookup.path("FEEDBACK_KEY_DIR", also="PILOTAGE_FEEDBACK_KEY_DIR"),
        allow_unsigned=lookup.flag("ALLOW_UNSIGNED"),
        explain=lookup.flag("EXPLAIN"),
        threads=lookup.whole("THREADS", 1, low=1, high=256),
        limits=Limits(
            body_bytes=lookup.whole("MAX_BODY_BYTES", Limits().body_bytes, low=1_024, high=2**30),
            rows=lookup.whole("MAX_ROWS", Limits().rows, low=1, high=65_535),
            queue_rows=lookup.whole("MAX_QUEUE_ROWS", Limits().queue_rows, low=1, high=10**7),
            batch_rows=lookup.whole("BATCH_ROWS", Limits().batch_rows, low=1, high=10**6),
            series=lookup.whole("MAX_SERIES", Limits().series, low=100, high=10**7),
        ),
        connections=Connections(
            requests=lookup.whole("CONNECTION_REQUESTS", Connections().requests, low=1, high=10**9),
            age_s=lookup.seconds("CONNECTION_SECONDS", Connections().age_s),
            idle_s=lookup.seconds("IDLE_SECONDS", Connections().idle_s),
        ),
        shutdown=Shutdown(
            drain_s=lookup.seconds("DRAIN_SECONDS", Shutdown().drain_s),
            finish_s=lookup.seconds("FINISH_SECONDS", Shutdown().finish_s),
            last_scrape_s=lookup.seconds("LAST_SCRAPE_SECONDS", Shutdown().last_scrape_s),
        ),
        pod=Pod(
            model=env.get("PILOTAGE_MODEL", ""),
            revision=env.get("PILOTAGE_REVISION", ""),
            cluster=env.get("PILOTAGE_CLUSTER", ""),
            collector_service=env.get("PILOTAGE_COLLECTOR_SERVICE", ""),
            name=env.get("POD_NAME", ""),
        ),
        payloads=_payloads(lookup),
    )
    _check(lookup, settings, env)
    return settings


def _payloads(lookup: Lookup) -> PayloadSettings | None:
    target = lookup.text("PAYLOAD_LOG", "")
    share = lookup.share("PAYLOAD_SHARE", 1.0)
    redact = tuple(name.strip() for name in lookup.text("PAYLOAD_REDACT", "").split(",") if name.strip())
    most_bytes = lookup.whole("PAYLOAD_MAX_BYTES", 2**30, low=1_024, high=2**50)
    path = lookup.path("PAYLOAD_LOG")
    if not target or path is None:
        return None
    return PayloadSettings(target=target, path=path, share=share, redact=redact, most_bytes=most_bytes)


def _check(lookup: Lookup, settings: ServeSettings, env: Mapping[str, str]) -> None:
    """Refuse what is unknown, missing or contradicts itself, together with every earlier mistake."""
    for name in sorted(env):
        key = name.removeprefix(PREFIX)
        if name.startswith(PREFIX) and key not in _KNOWN and not _SERVICE_LINK.fullmatch(name):
            # Compared without the prefix: with it every name resembles every other.
            hint = nearest(key, sorted(_KNOWN)).replace("'", f"'{PREFIX}", 1)
            lookup.mistakes.append(f"{name}: unknown setting; {hint}")
    ports = {"--port": settings.port, "--admin-port": settings.admin_port, "--grpc-port": settings.grpc_port}
    taken: dict[int, str] = {}
    for flag, port in ports.items():
        if port and taken.setdefault(port, flag) != flag:
            lookup.mistakes.append(f"{flag}: {port} is the port of {taken[port]} too; choose another")
    for variable, name in (("PILOTAGE_MODEL", settings.pod.model), ("PILOTAGE_REVISION", settings.pod.revision)):
        if name and not _NAME.fullmatch(name):
            lookup.mistakes.append(f"{variable}: {name!r} is no name; use letters, digits, '-', '.' and '_'")
    if settings.bundle == Path():
        lookup.mistakes.append("--bundle: is missing; name the folder or OCI layout of the model")
    if settings.bundle_key_dir and settings.allow_unsigned:
        lookup.mistakes.append("--allow-unsigned: contradicts the bundle keys that are given; leave one of them out")
    if not settings.bundle_key_dir and not settings.allow_unsigned:
        lookup.mistakes.append(
            "--bundle-key-dir: is missing; name the folder with your signers' *.pub files, "
            "or serve unverified bundles with --allow-unsigned (by hand only)"
        )
    if settings.feedback_key_dir and not settings.pod.cluster:
        lookup.mistakes.append("PILOTAGE_CLUSTER: is missing; feedback tokens name the cluster that issues them")
    if settings.payloads and not settings.feedback_key_dir:
        lookup.mistakes.append(
            "--payload-log: needs --feedback-key-dir; a line is of use only with the token that its label will name"
        )
    if lookup.mistakes:
        raise SettingsRefused("\n".join(lookup.mistakes))
