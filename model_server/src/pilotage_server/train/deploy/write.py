"""Everything a run leaves on disk: bundle, OCI layout, held-back rows, report, result.

A folder that holds something else than an earlier run is refused; an earlier run is replaced as a whole.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pilotage_server.bundle.manifest import MANIFEST, SIGNATURE, Manifest, Sha256, sha256
from pilotage_server.bundle.oci import write_layout
from pilotage_server.bundle.signature import sign
from pilotage_server.bundle.writing import encode
from pilotage_server.train.config import ConfigError
from pilotage_server.train.data import Table
from pilotage_server.train.data.split import Part
from pilotage_server.train.deploy.sbom import SBOM_FILE

BUNDLE_FOLDER, OCI_FOLDER, RESULT_FILE, HOLDBACK_FILE = "bundle", "oci", "result.json", "holdback.json"
CARD_FILE, REPORT_FILE = "model_card.md", "report.html"
REFUSED_FILE = "refused.json"
_OURS = {BUNDLE_FOLDER, OCI_FOLDER, RESULT_FILE, HOLDBACK_FILE, REFUSED_FILE, CARD_FILE, REPORT_FILE, SBOM_FILE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """Where a bundle can be found: `digest` (`sha256:…`) is that of the OCI image, `reference` pins it."""

    reference: str
    digest: str
    manifest_digest: Sha256


def clear_folder(out: Path) -> None:
    """Make an empty folder to write to; raises `ConfigError` rather than delete what no run has made."""
    _refuse_foreign(out)
    for name in _OURS:
        path = out / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    out.mkdir(parents=True, exist_ok=True)


def _refuse_foreign(out: Path) -> None:
    foreign = sorted({path.name for path in out.iterdir()} - _OURS) if out.is_dir() else []
    if foreign or (out.exists() and not out.is_dir()):
        raise ConfigError(
            f"--out {out}: holds {', '.join(foreign) or 'a file'}, which no training run made; use an empty folder"
        )


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """Give a folder beside `out` to write to; what is in it takes `out`'s place as a whole, result.json last.

    A run that is interrupted or fails leaves `out` as it was. Raises `ConfigError` as `clear_folder` does, at once.
    """
    _refuse_foreign(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as aside:
        folder = Path(aside) / "run"
        folder.mkdir()
        try:
            yield folder
        finally:
            made = sorted(folder.iterdir(), key=lambda path: (path.name == RESULT_FILE, path.name))
            if {RESULT_FILE, REFUSED_FILE} & {path.name for path in made}:
                clear_folder(out)
                for path in made:
                    path.replace(out / path.name)


def write_bundle(
    out: Path, manifest: Manifest, files: Mapping[str, bytes], *, image: str, key: Ed25519PrivateKey | None
) -> Written:
    """Write the bundle folder, signed if there is a key, and the OCI layout of it."""
    clear_folder(out)
    folder = out / BUNDLE_FOLDER
    folder.mkdir()
    raw = encode(manifest)
    contents = dict(files) | {MANIFEST: raw}
    if key is not None:
        contents[SIGNATURE] = sign(raw, key)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    digest = write_layout(folder, out / OCI_FOLDER, name=f"{image}:{manifest.version}")
    return Written(reference=f"{image}@{digest}", digest=digest, manifest_digest=sha256(raw))


def write_holdback(out: Path, table: Table, part: Part) -> None:
    """Write the held-back rows with their true classes, for whoever plays the users."""
    document = {
        "features": list(table.features),
        "classes": list(table.classes),
        "rows": [[None if cell != cell else cell for cell in row] for row in part.rows.tolist()],
        "labels": [table.classes[index] for index in part.labels],
    }
    _write_json(out / HOLDBACK_FILE, document)


def write_result(out: Path, document: Mapping[str, Any]) -> None:
    """Write result.json: last of all, so that its presence means a whole run."""
    _write_json(out / RESULT_FILE, document)


def write_text(out: Path, name: str, content: str) -> None:
    """Write a page for people beside the bundle."""
    (out / name).write_text(content, encoding="utf-8")


def write_refusal(out: Path, document: Mapping[str, Any]) -> None:
    """Write why a run made no bundle."""
    clear_folder(out)
    _write_json(out / REFUSED_FILE, document)


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")
