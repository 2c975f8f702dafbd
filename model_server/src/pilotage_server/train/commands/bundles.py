"""`pilotage-model keygen`, `inspect`, `verify`, `sign`, `export`: what can be done with a bundle that exists."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from pilotage_server.bundle import (
    AnySigner,
    BackendKind,
    Caps,
    Manifest,
    Refused,
    Source,
    load,
    open_source,
    read_manifest,
    read_trusted_keys,
)
from pilotage_server.bundle.manifest import MANIFEST, SIGNATURE, sha256
from pilotage_server.bundle.oci import write_layout
from pilotage_server.bundle.signature import new_key_pair, read_signing_key
from pilotage_server.bundle.signature import sign as signature_of
from pilotage_server.bundle.writing import encode
from pilotage_server.train.commands.ending import Exit, fail, refusals

_Bundle = Annotated[Path, typer.Argument(help="Bundle folder, OCI layout, or LAYOUT@sha256:…")]


def keygen_command(
    out: Annotated[Path, typer.Option(help="Folder for NAME.key (keep it secret) and NAME.pub.")],
    name: Annotated[str, typer.Option(help="Name of the key pair.")] = "bundle",
) -> None:
    """Make an ed25519 key pair for signing bundles; prints the two files.

    The public one goes into the ConfigMap pilotage-bundle-keys of every cluster. Exit codes: 0 made, 1 it exists.

    Example: pilotage-model keygen --out build/keys --name release
    """
    private_file, public_file = out / f"{name}.key", out / f"{name}.pub"
    for path in (private_file, public_file):
        if path.exists():
            fail(f"{path} exists; choose another --name, or remove it")
    private, public = new_key_pair()
    try:
        out.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(private_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(private)
        public_file.write_bytes(public)
    except OSError as error:
        fail(f"--out {out}: cannot be written ({error.strerror}); choose another folder")
    print(private_file)
    print(public_file)


def inspect_command(
    bundle: _Bundle,
    sbom: Annotated[
        bool, typer.Option("--sbom", help="Print the bill of materials of its training instead (CycloneDX JSON).")
    ] = False,
) -> None:
    """Print a bundle's manifest as JSON; proves nothing about it (verify does).

    Exit codes: 0 printed, 1 refused.

    Example: pilotage-model inspect build/iris/bundle --sbom > iris.cdx.json
    """
    from pilotage_server.train.deploy.sbom import SBOM_FILE

    with refusals():
        source = open_source(bundle)
        manifest, digest, _ = read_manifest(source, trust=AnySigner(), caps=Caps())
        if sbom:
            print(_proven(source, manifest, SBOM_FILE, "was trained before there were any; train it again").decode())
            return
    print(json.dumps({"digest": f"sha256:{digest}"} | json.loads(encode(manifest)), indent=2, ensure_ascii=False))


def _proven(source: Source, manifest: Manifest, name: str, missing: str) -> bytes:
    """A file of a bundle, held against its digest; raises `Refused`."""
    entry = next((file for file in manifest.files if file.name == name), None)
    if entry is None:
        raise Refused(name, "is not in this bundle", missing)
    content = source.read(entry.name)
    if sha256(content) != entry.sha256:
        raise Refused(name, "its SHA-256 is not the one in manifest.json", "deploy the bundle again")
    return content


def verify_command(
    bundle: _Bundle,
    keys: Annotated[
        Path | None, typer.Option(help="Folder with trusted *.pub keys; without it nobody is asked.")
    ] = None,
) -> None:
    """Put a bundle through every check a server makes before it is ready.

    Size caps, signature (with --keys), digests, backend, golden rows. Exit codes: 0 good, 1 refused and why.

    Example: pilotage-model verify build/iris/oci --keys build/keys
    """
    with refusals():
        trust = read_trusted_keys(keys) if keys else AnySigner()
        loaded = load(open_source(bundle), trust=trust)
    signer = f"signed by {loaded.signer}" if loaded.signer else "signature not checked (--keys)"
    print(f"{loaded.manifest.name} {loaded.manifest.version} sha256:{loaded.digest}: good, {signer}")


def sign_command(
    run: Annotated[Path, typer.Argument(help="Folder of a training run: its bundle/ is signed, its oci/ made anew.")],
    signing_key: Annotated[Path, typer.Option(help="Private key (ed25519, PEM).")],
) -> None:
    """Sign the bundle of a run, after every check a server makes; prints the new image reference.

    For keys that training machines must not hold. Exit codes: 0 signed, 1 refused, 2 usage.

    Example: pilotage-model sign build/iris --signing-key build/keys/release.key
    """
    result, folder = run / "result.json", run / "bundle"
    if not result.is_file() or not folder.is_dir():
        fail(f"{run} is no folder of a training run (bundle/ and result.json)", Exit.USAGE)
    with refusals():
        try:
            key = read_signing_key(signing_key)
        except Refused as error:
            fail(str(error), Exit.USAGE)
        load(open_source(folder), trust=AnySigner())
        (folder / SIGNATURE).write_bytes(signature_of((folder / MANIFEST).read_bytes(), key))
        document = json.loads(result.read_text(encoding="utf-8"))
        image = document["reference"].partition("@")[0]
        for path in sorted((run / "oci").rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
        digest = write_layout(folder, run / "oci", name=f"{image}:{document['version']}")
    document |= {"reference": f"{image}@{digest}", "digest": digest, "signed": True}
    result.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    print(document["reference"])


def export_command(
    bundle: _Bundle,
    to: Annotated[Path, typer.Option(help="File to write: *.onnx or *.skops.")],
) -> None:
    """Write the model of a bundle to a file, proven by its digest: probabilities out, no decision rule in it.

    The rule stands in the manifest (`inspect`). Exit codes: 0 written, 1 refused, 2 usage.

    Example: pilotage-model export build/iris/bundle --to iris.onnx
    """
    with refusals():
        source = open_source(bundle)
        manifest, _, _ = read_manifest(source, trust=AnySigner(), caps=Caps())
        wanted = {".onnx": "model.onnx", ".skops": "model.skops"}.get(to.suffix)
        entry = next((file for file in manifest.files if file.name == wanted), None)
        if wanted is None:
            fail(f"--to {to}: ends in neither .onnx nor .skops", Exit.USAGE)
        if entry is None:
            why = "ONNX gave other answers than scikit-learn" if manifest.backend is BackendKind.SKLEARN else "not made"
            fail(f"{bundle}: holds no {wanted} ({why}); write {to.with_suffix('.skops').name} instead")
        content = _proven(source, manifest, entry.name, "")
    try:
        to.write_bytes(content)
    except OSError as error:
        fail(f"--to {to}: cannot be written ({error.strerror})", Exit.USAGE)
    print(to)
