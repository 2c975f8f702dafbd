"""A bundle that is not exactly what a trusted signer signed never serves, and says which file and what to
do.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pilotage_server.bundle import AnySigner, Caps, Refused, load, open_source, read_trusted_keys
from pilotage_server.bundle.manifest import sha256
from pilotage_server.bundle.reading import decode
from pilotage_server.bundle.signature import read_signing_key, sign
from pilotage_server.bundle.writing import canonical, encode
from support.serving import Keys, make_keys

Tamper = Callable[[Path], object]


@pytest.fixture
def bundle(iris: Path, tmp_path: Path) -> Path:
    """A private copy of a good bundle."""
    copy = tmp_path / "bundle"
    shutil.copytree(iris / "bundle", copy)
    return copy


def resign(bundle: Path, keys: Keys) -> None:
    """Sign again: what follows must not depend on the signature alone."""
    manifest = json.loads((bundle / "manifest.json").read_bytes())
    for entry in manifest["files"]:
        content = (bundle / entry["name"]).read_bytes()
        entry.update(size=len(content), sha256=sha256(content))
    raw = canonical(manifest)
    (bundle / "manifest.json").write_bytes(raw)
    (bundle / "signature").write_bytes(sign(raw, read_signing_key(keys.private)))


def edit(bundle: Path, change: Callable[[dict[str, object]], None]) -> None:
    manifest = json.loads((bundle / "manifest.json").read_bytes())
    change(manifest)
    (bundle / "manifest.json").write_bytes(canonical(manifest))


def flip(path: Path, at: int = -10) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


UNSIGNED_TAMPERING: dict[str, tuple[Tamper, str]] = {
    "no signature": (lambda b: (b / "signature").unlink(), r"signature: the bundle is not signed; train it with"),
    "damaged signature": (lambda b: (b / "signature").write_bytes(b"{"), r"signature: is not a signature file; train"),
    "signature of another kind": (
        lambda b: (b / "signature").write_bytes(b'{"algorithm":"none","keyId":"","signature":""}'),
        r"signature: is not an ed25519 signature",
    ),
    "manifest changed by a byte": (
        lambda b: flip(b / "manifest.json"),
        r"signature: does not fit manifest\.json, although it names trusted key 'release'",
    ),
    "class renamed": (
        lambda b: edit(b, lambda m: m.update(classes=["a", "b", "c"])),
        r"signature: does not fit manifest\.json",
    ),
    "model changed by a byte": (
        lambda b: flip(b / "model.onnx"),
        r"model\.onnx: its SHA-256 is not the one in manifest\.json; it was changed after training",
    ),
    "unused file changed by a byte": (lambda b: flip(b / "model.skops"), r"model\.skops: its SHA-256 is not"),
    "model cut off": (
        lambda b: (b / "model.onnx").write_bytes((b / "model.onnx").read_bytes()[:-1]),
        r"model\.onnx: has \d+ bytes, manifest\.json says \d+",
    ),
    "model missing": (
        lambda b: (b / "model.onnx").unlink(),
        r"model\.onnx: is missing, although manifest\.json lists it",
    ),
    "manifest missing": (lambda b: (b / "manifest.json").unlink(), r"manifest\.json: is missing; point --bundle"),
    "stowaway": (lambda b: (b / "hook.py").write_text("1"), r"hook\.py: is not listed in manifest\.json; remove it"),
    "link": (lambda b: (b / "x").symlink_to("/etc/passwd"), r"x: is not a plain file"),
    "folder": (lambda b: (b / "x").mkdir(), r"x: is not a plain file"),
}


@pytest.mark.parametrize("name", UNSIGNED_TAMPERING)
def test_refuses_what_was_changed_after_signing(name: str, bundle: Path, keys: Keys) -> None:
    tamper, expected = UNSIGNED_TAMPERING[name]
    tamper(bundle)

    with pytest.raises(Refused, match=f"^bundle refused: {expected}"):
        load(open_source(bundle), trust=read_trusted_keys(keys.public_dir))


def _golden_cell(manifest: dict[str, object]) -> None:
    golden = manifest["golden"]
    assert isinstance(golden, dict)
    golden["probabilities"][0][0] += 2e-5
    golden["probabilities"][0][1] -= 2e-5


def _damaged_skops(bundle: Path) -> None:
    edit(bundle, lambda m: m.update(backend={"kind": "sklearn", "file": "model.skops"}))
    (bundle / "model.skops").write_bytes(b"PK")


SIGNED_FAULTS: dict[str, tuple[Tamper, str]] = {
    "other numbers than in training": (
        lambda b: edit(b, _golden_cell),
        r"model\.onnx: golden rows differ by 2e-05, more than the tolerance 1e-05; this machine",
    ),
    "no ONNX model": (
        lambda b: (b / "model.onnx").write_bytes(b"not a model"),
        r"model\.onnx: ONNX Runtime cannot load it",
    ),
    "no skops file": (
        _damaged_skops,
        r"model\.skops: skops cannot load it",
    ),
    "a field nobody knows": (
        lambda b: edit(b, lambda m: m.update(clases=["a"])),
        r"manifest\.json: clases: unknown key; did you mean 'classes'\?",
    ),
    "a newer format": (
        lambda b: edit(b, lambda m: m.update(format=2)),
        r"manifest\.json: format: this server reads format 1 only",
    ),
    "model file outside the bundle": (
        lambda b: edit(b, lambda m: m.update(backend={"kind": "onnx-f64", "file": "../model.onnx"})),
        r"manifest\.json: backend\.file: '\.\./model\.onnx' is not among the files",
    ),
    "fewer features than the model has": (
        lambda b: edit(b, lambda m: m.update(features=[{"name": "x", "low": 0, "high": 1}])),
        r"manifest\.json: golden\.rows\[0\]: is not a row of 1 numbers",
    ),
    "a gap where none is allowed": (
        lambda b: edit(b, lambda m: m["golden"]["rows"][0].__setitem__(1, None)),  # type: ignore[index]
        r"manifest\.json: golden\.rows\[0\]: holds what is no number, or null for a feature that has no missing values",
    ),
    "a category that occurs twice": (
        lambda b: edit(b, lambda m: m["features"][0].update(categories=["a", "a"])),  # type: ignore[index]
        r"manifest\.json: features\[0\]\.categories: must be different texts of 1 to 1024 characters",
    ),
    "a tolerance that proves nothing": (
        lambda b: edit(b, lambda m: m["golden"].update(tolerance=1)),  # type: ignore[attr-defined]
        r"manifest\.json: golden\.tolerance: 1 is outside \[0, 0\.001\]",
    ),
    "threshold among three classes": (
        lambda b: edit(b, lambda m: m.update(decision={"rule": "threshold", "class": "setosa", "value": 0.5})),
        r"manifest\.json: decision\.class: 'setosa'; a threshold needs two classes",
    ),
}


@pytest.mark.parametrize("name", SIGNED_FAULTS)
def test_refuses_a_signed_bundle_that_cannot_keep_its_promise(name: str, bundle: Path, keys: Keys) -> None:
    tamper, expected = SIGNED_FAULTS[name]
    tamper(bundle)
    resign(bundle, keys)

    with pytest.raises(Refused, match=f"^bundle refused: {expected}"):
        load(open_source(bundle), trust=read_trusted_keys(keys.public_dir))


def test_refuses_a_signer_nobody_trusts(bundle: Path, keys: Keys, tmp_path: Path) -> None:
    stranger = make_keys(tmp_path / "stranger", "stranger")
    resign(bundle, stranger)

    with pytest.raises(Refused, match=r"signature: made with key [0-9a-f]{16}, which is none of .* \(release\)"):
        load(open_source(bundle), trust=read_trusted_keys(keys.public_dir))


def test_takes_any_of_several_trusted_keys(bundle: Path, keys: Keys, tmp_path: Path) -> None:
    other = make_keys(tmp_path / "other", "other")
    shutil.copy(keys.public_dir / "release.pub", other.public_dir)

    assert load(open_source(bundle), trust=read_trusted_keys(other.public_dir)).signer == "release"


def test_refuses_a_folder_without_keys_and_a_key_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"holds no \*\.pub file; put the public keys .* pilotage-bundle-keys"):
        read_trusted_keys(tmp_path)
    (tmp_path / "a.pub").write_text("ssh-ed25519 AAAA")
    with pytest.raises(Refused, match=r"a\.pub: is not a PEM public key"):
        read_trusted_keys(tmp_path)


@pytest.mark.parametrize(
    ("caps", "expected"),
    [
        (Caps(manifest=100), r"manifest\.json: has \d+ bytes, more than 100; train a smaller model"),
        (Caps(file=1_000), r"model\.\w+: has \d+ bytes, more than 1000"),
        (Caps(signature=10), r"signature: has \d+ bytes, more than 10"),
        (Caps(total=2_000), r"bundle: has \d+ bytes, more than 2000"),
        (Caps(files=2), r"bundle: holds \d files, more than 2"),
    ],
    ids=["manifest", "file", "signature", "total", "count"],
)
def test_refuses_what_is_too_large_before_reading_it(caps: Caps, expected: str, bundle: Path) -> None:
    with pytest.raises(Refused, match=f"^bundle refused: {expected}"):
        load(open_source(bundle), trust=AnySigner(), caps=caps)


def test_checks_the_signature_before_it_parses_anything(bundle: Path, keys: Keys) -> None:
    (bundle / "manifest.json").write_bytes(b"[" * 100_000)

    with pytest.raises(Refused, match=r"signature: does not fit manifest\.json"):
        load(open_source(bundle), trust=read_trusted_keys(keys.public_dir))


def test_a_good_bundle_loads_and_its_manifest_survives_a_round_trip(iris: Path, keys: Keys) -> None:
    loaded = load(open_source(iris / "bundle"), trust=read_trusted_keys(keys.public_dir))

    assert loaded.signer == "release"
    assert loaded.manifest.classes == ("setosa", "versicolor", "virginica")
    assert encode(decode(encode(loaded.manifest))) == (iris / "bundle" / "manifest.json").read_bytes()
