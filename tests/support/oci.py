"""Small OCI image layouts, written as the image specification describes them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
TAR = "application/vnd.oci.image.layer.v1.tar"


def a_layer(files: Mapping[str, bytes]) -> bytes:
    """A tar with these files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def a_layout(folder: Path, *layers: Mapping[str, bytes] | bytes, compress: bool = False) -> tuple[Path, str]:
    """An OCI layout below `folder` with one artifact of these layers; its path and the artifact's digest."""
    layout = folder / "oci"
    (layout / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
    descriptors = []
    for layer in layers:
        raw = layer if isinstance(layer, bytes) else a_layer(layer)
        media_type = f"{TAR}+gzip" if compress else TAR
        descriptors.append(_blob(layout, gzip.compress(raw) if compress else raw, media_type))
    config = _blob(layout, b"{}", "application/vnd.oci.empty.v1+json")
    document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": descriptors}
    manifest = _blob(layout, json.dumps(document).encode(), MANIFEST)
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [manifest]}))
    return layout, str(manifest["digest"])


def _blob(layout: Path, content: bytes, media_type: str) -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    (layout / "blobs" / "sha256" / digest).write_bytes(content)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}
