"""From files to a bundle that may serve: each check before what it protects.

Order: size caps → signature → manifest → digests → backend → golden self-test. Nothing of a bundle is parsed
before its signature has been verified, no model file is opened before its digest has been, and a model whose
numbers differ from those of training on this machine never serves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pilotage_server.bundle.errors import Refused
from pilotage_server.bundle.manifest import CARD, MANIFEST, REPORT, SIGNATURE, Manifest, Sha256, sha256
from pilotage_server.bundle.predictor import Predictor, open_predictor
from pilotage_server.bundle.reading import decode
from pilotage_server.bundle.signature import Trust, verify
from pilotage_server.bundle.source import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """Largest sizes accepted, bytes."""

    manifest: int = 16 * 2**20
    signature: int = 4 * 2**10
    file: int = 512 * 2**20
    total: int = 1024 * 2**20
    files: int = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A bundle every check of which has passed.

    `digest` is that of its manifest, `signer` the name of a trusted key, `card` the model card (Markdown, UTF-8) and
    `report` the page for people (HTML, UTF-8), empty where the bundle holds none.
    """

    manifest: Manifest
    digest: Sha256
    signer: str
    predictor: Predictor
    card: bytes = b""
    report: bytes = b""


def load(source: Source, *, trust: Trust, threads: int = 1, caps: Caps | None = None) -> Bundle:
    """Check and load a bundle; raises `Refused` with the file, the problem and the remedy."""
    manifest, digest, signer = read_manifest(source, trust=trust, caps=caps or Caps())
    kept = {manifest.model_file: b"", CARD: b"", REPORT: b""}
    for entry in manifest.files:
        content = source.read(entry.name)
        if sha256(content) != entry.sha256:
            raise Refused(
                entry.name,
                "its SHA-256 is not the one in manifest.json",
                "it was changed after training: deploy it again",
            )
        if entry.name in kept:
            kept[entry.name] = content
    predictor = open_predictor(manifest, kept[manifest.model_file], threads=threads)
    self_test(manifest, predictor)
    return Bundle(
        manifest=manifest,
        digest=digest,
        signer=signer,
        predictor=predictor,
        card=kept[CARD],
        report=kept[REPORT],
    )


def read_manifest(source: Source, *, trust: Trust, caps: Caps) -> tuple[Manifest, Sha256, str]:
    """Check caps, signature and manifest, and that exactly the listed files are there with their sizes."""
    sizes = source.sizes
    if MANIFEST not in sizes:
        raise Refused(MANIFEST, "is missing", "point --bundle at the folder pilotage-model train wrote as bundle/")
    _check_caps(source, caps)
    raw = source.read(MANIFEST)
    signature = source.read(SIGNATURE) if SIGNATURE in sizes else None
    signer = verify(raw, signature, trust)
    manifest = decode(raw)
    listed = {entry.name: entry.size for entry in manifest.files}
    for name, size in listed.items():
        if name not in sizes:
            raise Refused(name, "is missing, although manifest.json lists it", "deploy the whole bundle again")
        if sizes[name] != size:
            raise Refused(name, f"has {sizes[name]} bytes, manifest.json says {size}", "deploy the bundle again")
    for name in sizes:
        if name not in listed and name not in (MANIFEST, SIGNATURE):
            raise Refused(name, "is not listed in manifest.json", "remove it: a bundle is exactly what was signed")
    return manifest, sha256(raw), signer


def _check_caps(source: Source, caps: Caps) -> None:
    sizes = source.sizes
    if len(sizes) > caps.files:
        raise Refused("bundle", f"holds {len(sizes)} files, more than {caps.files}", "remove what is not part of it")
    for name, size in sizes.items():
        cap = {MANIFEST: caps.manifest, SIGNATURE: caps.signature}.get(name, caps.file)
        if size > cap:
            raise Refused(name, f"has {size} bytes, more than {cap}", "train a smaller model")
    total = sum(sizes.values())
    if total > caps.total:
        raise Refused("bundle", f"has {total} bytes, more than {caps.total}", "train a smaller model")


def self_test(manifest: Manifest, predictor: Predictor) -> None:
    """Predict the golden rows.

    Raises `Refused` unless all probabilities and decisions are those of training.
    """
    golden = manifest.golden
    expected = np.array(golden.probabilities)
    remedy = "this machine or its libraries compute differently: export the bundle for the versions this image has"
    try:
        found = predictor.probabilities(np.array(golden.rows, dtype=np.float64))
    except Exception as error:  # whatever a backend raises here, the bundle must not serve
        raise Refused(
            manifest.model_file, f"fails on the golden rows ({type(error).__name__}: {error})", remedy
        ) from error
    if found.shape != expected.shape:
        raise Refused(manifest.model_file, f"answers with shape {found.shape}, not {expected.shape}", remedy)
    difference = float(np.max(np.abs(found - expected)))
    if not difference <= golden.tolerance:
        raise Refused(
            manifest.model_file,
            f"golden rows differ by {difference:.2g}, more than the tolerance {golden.tolerance:g}",
            remedy,
        )
    if not np.array_equal(manifest.decision.decide(found), manifest.decision.decide(expected)):
        raise Refused(manifest.model_file, "golden rows get other classes than in training", remedy)
