"""OCI image layouts: the instance's store, and copying into it.

Invariants: a blob in the store has the content its name says (checked when it is copied and again when it is
read); the index is replaced as a whole, under a lock. Source: the OCI image-spec, image-layout.md and
manifest.md, version 1.1.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from localclouds.images.reference import BadReference, parse

Json = dict[str, Any]

REF_NAME = "org.opencontainers.image.ref.name"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
# Manifests are small; a large one is an attack on whoever parses it. The registries' own limit.
MOST_MANIFEST_BYTES = 4 * 1024 * 1024


class LayoutProblem(Exception):
    """A layout, manifest or blob is not what it claims to be."""


class MissingArtifact(LookupError):
    """The store has no artifact of this reference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """An artifact in the store: its digest, and its layers bottom up as (digest, media type)."""

    digest: str
    layers: tuple[tuple[str, str], ...]


def load(layout: Path, store: Path) -> tuple[str, ...]:
    """Copy every artifact of the OCI layout into the store and return their digests.

    Loading again changes nothing. Raises LayoutProblem when a file is missing or has another content than its
    name says.
    """
    entries = _index(layout)
    if not entries:
        raise LayoutProblem(f"{layout}: index.json lists no artifact")
    (store / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
    for entry in entries:
        _copy_tree(layout, store, entry)
    with _locked(store):
        digests = {entry["digest"] for entry in entries}
        kept = [known for known in _index(store, empty_ok=True) if known["digest"] not in digests]
        _write(store / "oci-layout", {"imageLayoutVersion": "1.0.0"})
        _write(store / "index.json", {"schemaVersion": 2, "mediaType": INDEX, "manifests": kept + entries})
    return tuple(entry["digest"] for entry in entries)


def resolve(store: Path, reference: str) -> Manifest:
    """Find the manifest of a reference in the store, its content checked against its digest.

    A digest in the reference decides alone. Without one, the index is searched for the name the artifact was
    loaded with. Raises BadReference, MissingArtifact or LayoutProblem.
    """
    wanted = parse(reference)
    digest = wanted.digest
    if digest is None:
        titles = (reference, wanted.tagged, wanted.tag)
        for entry in _index(store, empty_ok=True):
            if (entry.get("annotations") or {}).get(REF_NAME) in titles:
                digest = entry["digest"]
        if digest is None:
            raise MissingArtifact(f"{reference}: not in the store; 'localclouds load DIR' copies it there")
    if not _blob(store, digest).exists():
        raise MissingArtifact(f"{reference}: not in the store; 'localclouds load DIR' copies it there")
    document = _read_manifest(store, digest)
    if "manifests" in document:
        document = _read_manifest(store, _for_this_machine(document, digest))
    try:
        layers = tuple((layer["digest"], layer["mediaType"]) for layer in document["layers"])
    except (KeyError, TypeError) as error:
        raise LayoutProblem(f"{digest}: not an image manifest (no {error})") from error
    return Manifest(digest=digest, layers=layers)


@contextmanager
def open_blob(store: Path, digest: str) -> Iterator[BinaryIO]:
    """Open a blob after checking its whole content. Raises LayoutProblem."""
    path = _blob(store, digest)
    try:
        blob = path.open("rb")
    except OSError as error:
        raise LayoutProblem(f"{digest}: the blob is missing ({error.strerror}); load the artifact again") from error
    with blob:
        found = f"sha256:{hashlib.file_digest(blob, 'sha256').hexdigest()}"
        if found != digest:
            raise LayoutProblem(f"{digest}: the blob has digest {found}; load the artifact again")
        blob.seek(0)
        yield blob


def _copy_tree(layout: Path, store: Path, descriptor: Json) -> None:
    digest = descriptor.get("digest", "")
    _copy(layout, store, digest)
    if descriptor.get("mediaType") not in (MANIFEST, INDEX):
        return
    document = _read_manifest(store, digest)
    for child in document.get("manifests", ()):
        _copy_tree(layout, store, child)
    for child in (*document.get("layers", ()), *([document["config"]] if "config" in document else [])):
        _copy(layout, store, child.get("digest", ""))


def _copy(layout: Path, store: Path, digest: str) -> None:
    target = _blob(store, digest)
    if target.exists():
        return
    with open_blob(layout, digest) as blob, tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as copy:
        draft = Path(copy.name)
        try:
            shutil.copyfileobj(blob, copy)
            copy.flush()
            draft.chmod(0o644)
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)


def _blob(store: Path, digest: str) -> Path:
    try:
        parse(f"x@{digest}")
    except BadReference as error:
        raise LayoutProblem(f"{digest!r}: not a sha256 digest") from error
    return store / "blobs" / "sha256" / digest.removeprefix("sha256:")


def _read_manifest(store: Path, digest: str) -> Json:
    with open_blob(store, digest) as blob:
        text = blob.read(MOST_MANIFEST_BYTES + 1)
    if len(text) > MOST_MANIFEST_BYTES:
        raise LayoutProblem(f"{digest}: the manifest is larger than {MOST_MANIFEST_BYTES} bytes")
    return _object(text, digest)


def _for_this_machine(index: Json, digest: str) -> str:
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    entries = index["manifests"]
    fitting = [e for e in entries if (e.get("platform") or {}).get("architecture", machine) == machine]
    if not fitting:
        raise LayoutProblem(f"{digest}: no manifest for {machine}")
    return str(fitting[0].get("digest", ""))


def _index(layout: Path, empty_ok: bool = False) -> list[Json]:
    path = layout / "index.json"
    if empty_ok and not path.exists():
        return []
    try:
        document = _object(path.read_bytes(), str(path))
    except OSError as error:
        raise LayoutProblem(f"{layout}: not an OCI image layout ({error.strerror}: index.json)") from error
    entries = document.get("manifests")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise LayoutProblem(f"{path}: manifests is not a list of descriptors")
    return entries


def _object(text: bytes, where: str) -> Json:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise LayoutProblem(f"{where}: not JSON ({error})") from error
    if not isinstance(document, dict):
        raise LayoutProblem(f"{where}: not a JSON object")
    return document


@contextmanager
def _locked(store: Path) -> Iterator[None]:
    with (store / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _write(path: Path, document: Json) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(document, indent=2))
    draft.replace(path)
