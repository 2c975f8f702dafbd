"""Bundles: a classifier as signed files, read strictly and proven on golden rows before it serves.

`open_source` finds the files (a folder, or an OCI image layout), `load` checks and loads them in the order
that lets nothing unproven run, `Manifest` is what the rest of the server knows about the model. A bundle that
fails a check raises `Refused`, whose message is what the operator's condition will show. There is no pickle
anywhere.
"""

from __future__ import annotations

from pathlib import Path

from pilotage_server.bundle.errors import Refused
from pilotage_server.bundle.load import Bundle, Caps, load, read_manifest, self_test
from pilotage_server.bundle.manifest import BackendKind, ClassType, Manifest
from pilotage_server.bundle.oci import is_layout, open_layout
from pilotage_server.bundle.signature import AnySigner, Trust, TrustedKeys, read_trusted_keys
from pilotage_server.bundle.source import Source, open_folder

__all__ = [
    "AnySigner",
    "BackendKind",
    "Bundle",
    "Caps",
    "ClassType",
    "Manifest",
    "Refused",
    "Source",
    "Trust",
    "TrustedKeys",
    "load",
    "open_source",
    "read_manifest",
    "read_trusted_keys",
    "self_test",
]


def open_source(path: Path) -> Source:
    """Open a bundle folder, an OCI layout with one image, or one image of a layout (`LAYOUT@sha256:…`)."""
    folder, at, digest = str(path).rpartition("@")
    if at and digest.startswith("sha256:"):
        return open_layout(Path(folder), digest)
    return open_layout(path) if is_layout(path) else open_folder(path)
