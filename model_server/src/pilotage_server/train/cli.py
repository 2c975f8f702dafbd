"""`pilotage-model`: train, keygen, inspect, verify.

stdout carries the result (a reference, a manifest), stderr the rest. Exit codes: 0 done, 1 refused or failed,
2 usage or configuration.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from pilotage_server.bundle import AnySigner, Caps, Refused, load, open_source, read_manifest, read_trusted_keys
from pilotage_server.bundle.manifest import encode
from pilotage_server.bundle.signature import new_key_pair, read_signing_key

app = typer.Typer(
    name="pilotage-model",
    help="Train classifiers into signed bundles, and look into bundles.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command("train")
def train_command(
    config: Annotated[Path, typer.Argument(help="Training configuration (YAML).")],
    out: Annotated[Path, typer.Option(help="Folder for bundle/, oci/ and result.json.")],
    signing_key: Annotated[
        Path | None, typer.Option(help="Private key (ed25519, PEM) to sign the bundle with.")
    ] = None,
) -> None:
    """Train a classifier and write its bundle; prints the image reference, pinned by digest."""
    # Imported here: scikit-learn takes seconds, and the other commands do without it.
    from pilotage_server.train.config import ConfigError, read_config
    from pilotage_server.train.run import train
    from pilotage_server.train.write import clear_folder

    try:
        parsed = read_config(config)
        clear_folder(out)
        key = read_signing_key(signing_key) if signing_key else None
    except (ConfigError, Refused) as error:
        _fail(str(error), code=2)
    try:
        result = train(parsed, out, key=key)
    except ConfigError as error:
        _fail(str(error), code=2)
    metrics = result.document["metrics"]
    accuracy = metrics["accuracy"]
    for note in result.document["warnings"]:
        print(f"warning: {note}", file=sys.stderr)
    if key is None:
        print("warning: not signed; clusters accept signed bundles only (--signing-key)", file=sys.stderr)
    print(
        f"{parsed.name} {parsed.version}: accuracy {accuracy['value']:.3f} "
        f"[{accuracy['low']:.3f}, {accuracy['high']:.3f}] on {metrics['rows']} test rows, "
        f"served by {result.document['backend']}",
        file=sys.stderr,
    )
    print(result.reference)


@app.command()
def keygen(
    out: Annotated[Path, typer.Option(help="Folder for NAME.key (keep it secret) and NAME.pub.")],
    name: Annotated[str, typer.Option(help="Name of the key pair.")] = "bundle",
) -> None:
    """Make an ed25519 key pair for signing bundles."""
    private_file, public_file = out / f"{name}.key", out / f"{name}.pub"
    for path in (private_file, public_file):
        if path.exists():
            _fail(f"{path} exists; choose another --name, or remove it", code=1)
    private, public = new_key_pair()
    out.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(private_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(private)
    public_file.write_bytes(public)
    print(private_file)
    print(public_file)


@app.command()
def inspect(bundle: Annotated[Path, typer.Argument(help="Bundle folder, OCI layout, or LAYOUT@sha256:…")]) -> None:
    """Print a bundle's manifest as JSON; proves nothing about it."""
    try:
        manifest, digest, _ = read_manifest(open_source(bundle), trust=AnySigner(), caps=Caps())
    except Refused as refused:
        _fail(str(refused), code=1)
    print(json.dumps({"digest": f"sha256:{digest}"} | json.loads(encode(manifest)), indent=2, ensure_ascii=False))


@app.command()
def verify(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder, OCI layout, or LAYOUT@sha256:…")],
    keys: Annotated[
        Path | None, typer.Option(help="Folder with trusted *.pub keys; without it nobody is asked.")
    ] = None,
) -> None:
    """Put a bundle through every check a server makes before it is ready."""
    try:
        trust = read_trusted_keys(keys) if keys else AnySigner()
        loaded = load(open_source(bundle), trust=trust)
    except Refused as refused:
        _fail(str(refused), code=1)
    signer = f"signed by {loaded.signer}" if loaded.signer else "signature not checked (--keys)"
    print(f"{loaded.manifest.name} {loaded.manifest.version} sha256:{loaded.digest}: good, {signer}")


def _fail(message: str, *, code: int) -> NoReturn:
    print(f"pilotage-model: {message}", file=sys.stderr)
    raise typer.Exit(code)


def main() -> None:
    """Run the command line."""
    app()
