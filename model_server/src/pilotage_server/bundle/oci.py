"""A bundle as an OCI image layout: one uncompressed tar layer, equal files give an equal digest.

Written as an image (not as an artifact) so that image volumes of container runtimes unpack it. Times, owners
and modes in the layer are fixed, file names sorted. Reading checks every digest from the index down to the
layer.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from pathlib import Path
from typing import Any

from pilotage_server.bundle.errors import Refused
from pilotage_server.bundle.source import LayerSource, open_layer
from pilotage_server.bundle.writing import canonical

INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
REF_NAME = "org.opencontainers.image.ref.name"
_MAX_JSON = 4 * 2**20
_REMEDY = "load the image again"


def write_layout(bundle: Path, out: Path, *, name: str) -> str:
    """Write the layout of a bundle folder to `out`; gives the digest (`sha256:…`) of its image manifest."""
    layer = _tar(bundle)
    diff = _digest(layer)
    config = canonical(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [diff]},
        }
    )
    manifest = canonical(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": _descriptor(CONFIG_TYPE, config),
            "layers": [_descriptor(LAYER_TYPE, layer)],
        }
    )
    blobs = out / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)
    for content in (layer, config, manifest):
        (blobs / _digest(content).removeprefix("sha256:")).write_bytes(content)
    entry = _descriptor(MANIFEST_TYPE, manifest) | {"annotations": {REF_NAME: name}}
    (out / "index.json").write_bytes(canonical({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [entry]}))
    (out / "oci-layout").write_bytes(canonical({"imageLayoutVersion": "1.0.0"}))
    return _digest(manifest)


def is_layout(path: Path) -> bool:
    """Tell an OCI layout from a bundle folder."""
    return (path / "oci-layout").is_file()


def image_of(layout: Path) -> tuple[str, bytes]:
    """Digest and manifest of the only image of a layout; raises `Refused`."""
    if not is_layout(layout):
        raise Refused(str(layout), "is no OCI layout", "name the oci/ folder that pilotage-model train or pull wrote")
    digest = _only_digest(layout)
    return digest, _blob(layout, digest, _MAX_JSON)


def open_layout(layout: Path, digest: str | None = None) -> LayerSource:
    """Open the bundle with a digest (`sha256:…`), or the only one there is; raises `Refused`."""
    image = digest or _only_digest(layout)
    try:
        manifest = json.loads(_blob(layout, image, _MAX_JSON))
    except (ValueError, RecursionError) as error:
        raise Refused(image, "is no image manifest in JSON", _REMEDY) from error
    layers = manifest.get("layers") if isinstance(manifest, dict) else None
    if not isinstance(layers, list) or len(layers) != 1 or not isinstance(layers[0], dict):
        raise Refused(str(layout), "the image has not exactly one layer", "it is no bundle of pilotage-model")
    if layers[0].get("mediaType") != LAYER_TYPE:
        raise Refused(str(layout), f"the layer is a {layers[0].get('mediaType')}, not {LAYER_TYPE}", _REMEDY)
    path = _blob_path(layout, str(layers[0].get("digest")))
    _check(path, str(layers[0].get("digest")))
    return open_layer(path)


def _only_digest(layout: Path) -> str:
    index = layout / "index.json"
    try:
        manifests = json.loads(index.read_bytes())["manifests"]
        digests = sorted({str(entry["digest"]) for entry in manifests})
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise Refused("index.json", "is missing or no OCI index", _REMEDY) from error
    if len(digests) != 1:
        raise Refused("index.json", f"lists {len(digests)} images", "name one: --bundle LAYOUT@sha256:…")
    return digests[0]


def _blob_path(layout: Path, digest: str) -> Path:
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        raise Refused(str(layout), f"{digest!r} is not a sha256 digest", "write sha256: and 64 hexadecimal digits")
    path = layout / "blobs" / "sha256" / digest.removeprefix("sha256:")
    if not path.is_file():
        raise Refused(digest, "is not in the layout", _REMEDY)
    return path


def _blob(layout: Path, digest: str, cap: int) -> bytes:
    path = _blob_path(layout, digest)
    if path.stat().st_size > cap:
        raise Refused(digest, f"is larger than {cap} bytes", _REMEDY)
    content = path.read_bytes()
    if _digest(content) != digest:
        raise Refused(digest, "its content has another digest", _REMEDY)
    return content


def _check(path: Path, digest: str) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if f"sha256:{found}" != digest:
        raise Refused(digest, "its content has another digest", _REMEDY)


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _descriptor(media_type: str, content: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": _digest(content), "size": len(content)}


def _tar(bundle: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path in sorted(bundle.iterdir()):
            info = tarfile.TarInfo(path.name)
            info.size = path.stat().st_size
            info.mode = 0o444
            with path.open("rb") as file:
                archive.addfile(info, file)
    return buffer.getvalue()
