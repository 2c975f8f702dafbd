"""What can be set from outside: a flag, else `PILOTAGE_<NAME>`, else the default; parsed once, unknown names refused.

Knows no other module of ours. Variables that Kubernetes itself puts into a pod's environment (`PILOTAGE_*_SERVICE_HOST`
and its siblings, made from Services called pilotage-…) and the node agent's `PILOTAGE_POD_ROOT` are not settings.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

PREFIX = "PILOTAGE_"
_NOT_OURS = re.compile(
    r"^PILOTAGE_(?:POD_ROOT|CLOUDS_\w+|BIN_DIR"
    r"|(?:\w+_)?SERVICE_(?:HOST|PORT)(?:_\w+)?|(?:\w+_)?PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)?)$"
)


class SettingsRefused(Exception):
    """A setting that is unknown or has an unusable value; every one of them, with the remedy."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


def _setting(default: Any, help_: str) -> Any:
    return field(default=default, metadata={"help": help_})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything the operator can be told. Seconds end in `_s`."""

    kubeconfig: str = _setting("", "kubeconfig of the hub; empty: the pod's service account")
    context: str = _setting("", "context of that kubeconfig; empty: its current one")
    namespace: str = _setting("", "the operator's own namespace (Lease, Secrets); empty: the pod's, else pilotage")
    identity: str = _setting("", "name of this replica in the Lease; empty: the host name")
    lease_name: str = _setting("pilotage-operator", "name of the Lease the replicas compete for")
    lease_duration_s: float = _setting(15.0, "a lease not renewed for so long may be taken")
    lease_renew_deadline_s: float = _setting(10.0, "a leader that cannot renew for so long ends")
    lease_retry_s: float = _setting(2.0, "pause between attempts to take or renew")
    listen: str = _setting("0.0.0.0:8080", "address of /livez, /readyz and /metrics; port 0: any free one")
    workers: int = _setting(4, "ModelDeployments reconciled at once")
    probe_interval_s: float = _setting(5.0, "between two probes of a member")
    probe_timeout_s: float = _setting(3.0, "a probe without an answer for so long has failed")
    probe_failures: int = _setting(3, "failed probes in a row that make a member unreachable")
    key_list_interval_s: float = _setting(300.0, "between two comparisons of the hub cache with the hub's key list")
    resync_s: float = _setting(600.0, "every ModelDeployment is reconciled at least so often")
    query_timeout_s: float = _setting(10.0, "deadline of a question to a Prometheus")
    queries_at_once: int = _setting(8, "questions to Prometheus in flight")
    log_level: str = _setting("INFO", "DEBUG, INFO, WARNING or ERROR")
    log_format: str = _setting("json", "json or text")


def parse(arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> Settings:
    """Read flags and environment. Raises SettingsRefused with all mistakes; `--help` exits as argparse does."""
    environment = os.environ if environment is None else environment
    flags = vars(_parser().parse_args(list(arguments)))
    known = {f"{PREFIX}{item.name.upper()}": item for item in fields(Settings)}
    problems = [
        _unknown(name, known)
        for name in sorted(environment)
        if name.startswith(PREFIX) and name not in known and not _NOT_OURS.match(name)
    ]
    values: dict[str, Any] = {}
    for variable, item in known.items():
        written, where = flags[item.name], "--" + item.name.replace("_", "-")
        if written is None and variable in environment:
            written, where = environment[variable], variable
        if written is None:
            continue
        try:
            values[item.name] = _convert(item.name, type(item.default), written)
        except ValueError as error:
            problems.append(f"{where}: {error}")
    if problems:
        raise SettingsRefused(problems)
    return _complete(values, environment)


def _complete(values: dict[str, Any], environment: Mapping[str, str]) -> Settings:
    """Fill in what a pod knows about itself."""
    root = Path(environment.get("PILOTAGE_POD_ROOT", "/"))
    mounted = root / "var/run/secrets/kubernetes.io/serviceaccount/namespace"
    if not values.get("namespace"):
        values["namespace"] = mounted.read_text().strip() if mounted.is_file() else "pilotage"
    if not values.get("identity"):
        values["identity"] = environment.get("POD_NAME") or f"{socket.gethostname()}-{os.getpid()}"
    return Settings(**values)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pilotage-operator",
        description="Rolls classifier models out across clusters. Each flag can also be set as PILOTAGE_<NAME>.",
    )
    for item in fields(Settings):
        flag = "--" + item.name.replace("_", "-")
        shown = f"{item.metadata['help']} (default: {item.default!r})".replace("%", "%%")
        parser.add_argument(flag, dest=item.name, default=None, metavar="VALUE", help=shown)
    return parser


def _unknown(name: str, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    return f"{name}: unknown setting; did you mean {near[0]}?"


def _convert(name: str, kind: type, written: str) -> Any:
    if name == "log_level":
        return _one_of(written.upper(), ("DEBUG", "INFO", "WARNING", "ERROR"))
    if name == "log_format":
        return _one_of(written, ("json", "text"))
    if name == "listen":
        host, _, port = written.rpartition(":")
        if not host or not port.isdigit() or int(port) > 65535:
            raise ValueError(f"{written!r} is not an address; write host:port, for example 0.0.0.0:8080")
        return written
    if kind is str:
        return written
    try:
        value = kind(written)
    except ValueError:
        raise ValueError(f"{written!r} is not a number; write for example {'5' if kind is int else '2.5'}") from None
    lowest = 1 if kind is int else 0.01
    if not lowest <= value <= 86400:
        raise ValueError(f"{written} is out of range; write a number from {lowest} to 86400")
    return value


def _one_of(written: str, allowed: tuple[str, ...]) -> str:
    if written not in allowed:
        raise ValueError(f"{written!r} is not one of {', '.join(allowed)}")
    return written
