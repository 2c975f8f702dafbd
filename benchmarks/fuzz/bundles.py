"""Targets of the bundle loader: whatever the files hold, it loads them or says `Refused`."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

from benchmarks.fuzz.target import Finding, Target
from pilotage_server.bundle.errors import Refused
from pilotage_server.bundle.load import Caps, read_manifest, self_test
from pilotage_server.bundle.oci import image_of, open_layout
from pilotage_server.bundle.predictor import OnnxPredictor
from pilotage_server.bundle.reading import decode
from pilotage_server.bundle.registry import digest_of
from pilotage_server.bundle.signature import AnySigner, read_trusted_keys, verify
from pilotage_server.bundle.source import open_layer


def manifest(run: Path) -> Target:
    """The text of a manifest, whose signature has been proven or was not asked for."""

    def take(data: bytes) -> None:
        with contextlib.suppress(Refused):
            decode(data)

    return Target(seeds=[_short(run), (run / "bundle" / "manifest.json").read_bytes()], take=take)


def signature(run: Path) -> Target:
    """A signature file: it is refused, or it is the one that was made."""
    trust = read_trusted_keys(run.parent / "keys")
    signed, made = ((run / "bundle" / name).read_bytes() for name in ("manifest.json", "signature"))

    def take(data: bytes) -> None:
        with contextlib.suppress(Refused):
            verify(signed, data, trust)
            if _raw(data) != _raw(made):
                raise Finding("another signature holds")

    return Target(seeds=[made], take=take)


def layer(run: Path) -> Target:
    """A tar layer, up to the manifest in it."""
    file = run.parent / "layer"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in (("manifest.json", _short(run)), ("signature", b"{}")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))

    def take(data: bytes) -> None:
        file.write_bytes(data)
        with contextlib.suppress(Refused):
            read_manifest(open_layer(file), trust=AnySigner(), caps=Caps())

    return Target(seeds=[buffer.getvalue()], take=take)


def layout(run: Path) -> Target:
    """An OCI layout: two bytes of length, the index, then an image manifest, which the layout holds by its digest."""
    folder = run.parent / "layout"
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    (folder / "oci-layout").write_bytes(b"{}")
    index = (run / "oci" / "index.json").read_bytes()
    digest, image = image_of(run / "oci")
    for blob in (run / "oci" / "blobs" / "sha256").iterdir():
        (blobs / blob.name).write_bytes(blob.read_bytes())

    def take(data: bytes) -> None:
        length = int.from_bytes(data[:2], "big")
        content = data[2 + length :]
        (folder / "index.json").write_bytes(data[2 : 2 + length])
        name = digest_of(content)
        blob = blobs / name.removeprefix("sha256:")
        was_there = blob.exists()
        blob.write_bytes(content)
        for asked in (None, name, digest):
            with contextlib.suppress(Refused):
                open_layout(folder, asked)
        if not was_there:
            blob.unlink()

    return Target(seeds=[len(index).to_bytes(2, "big") + index + image], take=take)


def onnx(run: Path) -> Target:
    """A model file, up to the golden rows."""
    found = decode((run / "bundle" / "manifest.json").read_bytes())
    width, classes = len(found.features), len(found.classes)

    def take(data: bytes) -> None:
        with contextlib.suppress(Refused):
            self_test(found, OnnxPredictor(data, name="model.onnx", width=width, classes=classes, threads=1))

    return Target(seeds=[(run / "bundle" / found.model_file).read_bytes()], take=take)


def _short(run: Path) -> bytes:
    """The run's manifest with two golden rows: short seeds are mutated faster."""
    document: dict[str, Any] = json.loads((run / "bundle" / "manifest.json").read_bytes())
    for name in ("rows", "probabilities"):
        document["golden"][name] = document["golden"][name][:2]
    return json.dumps(document).encode()


def _raw(content: bytes) -> bytes:
    return base64.b64decode(json.loads(content)["signature"])
