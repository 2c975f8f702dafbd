"""Kubeconfig files: self-contained, one or many contexts. Knows no cloud beyond a name, an URL and credentials."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """One context: where the API server is, whose CA it shows, and who we are there (all PEM bytes)."""

    context: str
    server: str
    ca: bytes
    cert: bytes
    key: bytes


def document(accesses: Iterable[Access]) -> dict[str, Any]:
    """A kubeconfig whose contexts are the given accesses; the first is the current one.

    Credentials are embedded: a kubeconfig with file paths breaks when copied, and the operator refuses such.
    """
    entries = list(accesses)
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": entries[0].context,
        "clusters": [
            {
                "name": entry.context,
                "cluster": {"server": entry.server, "certificate-authority-data": _base64(entry.ca)},
            }
            for entry in entries
        ],
        "users": [
            {
                "name": entry.context,
                "user": {
                    "client-certificate-data": _base64(entry.cert),
                    "client-key-data": _base64(entry.key),
                },
            }
            for entry in entries
        ],
        "contexts": [
            {"name": entry.context, "context": {"cluster": entry.context, "user": entry.context}} for entry in entries
        ],
    }


def write(path: Path, accesses: Iterable[Access]) -> Path:
    """Write a kubeconfig readable by its owner only, and return its path."""
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(document(accesses), sort_keys=False))
    return path


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
