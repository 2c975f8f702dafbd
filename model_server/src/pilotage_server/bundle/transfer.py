"""Bundles to and from a registry: every blob proven by its digest on both ways.

A push writes blobs first and the manifest last, so a reference never names what is not there, and then reads the
manifest back by its digest. A pull writes an OCI layout that holds exactly one image; an interrupted one leaves no
index, so it is never mistaken for a whole one.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pilotage_server.bundle.errors import Refused
from pilotage_server.bundle.load import Caps
from pilotage_server.bundle.oci import INDEX_TYPE, MANIFEST_TYPE, REF_NAME, image_of
from pilotage_server.bundle.registry import Reference, Registry, digest_of
from pilotage_server.bundle.writing import canonical

Progress = Callable[[str, int, bool], None]
"""Told (digest, bytes, moved) of every blob; `moved` is False when the other side had it."""


def push(layout: Path, reference: Reference, registry: Registry, progress: Progress) -> str:
    """Push the only image of a layout; gives the pinned reference. Raises `Refused`."""
    digest, manifest = image_of(layout)
    if reference.digest not in (None, digest):
        raise Refused(
            str(layout), f"holds {digest}, not {reference.digest}", "push without a digest, or another layout"
        )
    for described in _blobs(manifest):
        name, size = described["digest"], described["size"]
        moved = not registry.has_blob(name)
        if moved:
            registry.put_blob(_local(layout, name))
        progress(name, size, moved)
    registry.put_manifest(manifest, MANIFEST_TYPE, reference.tag or digest)
    registry.manifest(digest, MANIFEST_TYPE)
    return reference.pinned(digest)


def pull(reference: Reference, registry: Registry, out: Path, progress: Progress, caps: Caps | None = None) -> str:
    """Pull one image into a new layout at `out`; gives the pinned reference. Raises `Refused`."""
    manifest = registry.manifest(reference.digest or reference.tag or "latest", MANIFEST_TYPE)
    digest, cap = digest_of(manifest), (caps or Caps()).total
    folder = out / "blobs" / "sha256"
    folder.mkdir(parents=True, exist_ok=True)
    for described in _blobs(manifest):
        name, size = described["digest"], described["size"]
        if size > cap:
            raise Refused(name, f"has {size} bytes, more than {cap}", "it is no bundle of pilotage-model")
        target = folder / name.removeprefix("sha256:")
        moved = not (target.is_file() and digest_of(target.read_bytes()) == name)
        if moved:
            target.write_bytes(registry.blob(name, size))
        progress(name, size, moved)
    (folder / digest.removeprefix("sha256:")).write_bytes(manifest)
    entry = {"mediaType": MANIFEST_TYPE, "digest": digest, "size": len(manifest)}
    entry |= {"annotations": {REF_NAME: reference.tag or digest}}
    (out / "oci-layout").write_bytes(canonical({"imageLayoutVersion": "1.0.0"}))
    (out / "index.json").write_bytes(canonical({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [entry]}))
    return reference.pinned(digest)


def _blobs(manifest: bytes) -> list[dict[str, Any]]:
    try:
        document = json.loads(manifest)
        found = [document["config"], *document["layers"]]
        if all(_is_descriptor(item) for item in found):
            return found
    except (ValueError, LookupError, TypeError, RecursionError):
        pass
    raise Refused("manifest", "is no image manifest", "it is no bundle of pilotage-model")


def _is_descriptor(item: Any) -> bool:
    digest, size = str(item["digest"]), item["size"]
    is_digest = digest.startswith("sha256:") and len(digest) == 71 and set(digest[7:]) <= set("0123456789abcdef")
    return is_digest and type(size) is int and size >= 0


def _local(layout: Path, digest: str) -> bytes:
    try:
        content = (layout / "blobs" / "sha256" / digest.removeprefix("sha256:")).read_bytes()
    except OSError as error:
        raise Refused(digest, f"cannot be read ({error.strerror})", "write the layout again") from error
    if digest_of(content) != digest:
        raise Refused(digest, "its content has another digest", "write the layout again")
    return content
