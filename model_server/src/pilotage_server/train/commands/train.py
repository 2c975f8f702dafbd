"""`pilotage-model train`: one YAML file into one signed bundle."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from pilotage_server.bundle.signature import read_signing_key
from pilotage_server.train.commands.ending import Exit, fail, refusals


def train_command(
    config: Annotated[Path, typer.Argument(help="Training configuration (YAML).")],
    out: Annotated[Path, typer.Option(help="Folder for bundle/, oci/, report.html and result.json.")],
    signing_key: Annotated[
        Path | None, typer.Option(help="Private key (ed25519, PEM) to sign the bundle with.")
    ] = None,
    backend: Annotated[str, typer.Option(help="Who fits: local (this process), processes, dask or ray.")] = "local",
    scheduler: Annotated[str | None, typer.Option(help="Address of a dask scheduler or ray cluster.")] = None,
    jobs: Annotated[int, typer.Option(help="Fits at a time with --backend processes; -1 for one per core.")] = -1,
    chunk_rows: Annotated[
        int, typer.Option(min=0, help="Read a CSV so many rows at a time (sgd-logistic-regression); 0 reads all.")
    ] = 0,
) -> None:
    """Train a classifier and write its bundle; prints the image reference, pinned by digest.

    Exit codes: 0 done, 2 configuration, 3 data checks failed (refused.json says which), 4 a fairness limit is broken,
    130 interrupted. The folder holds the whole of one run at any time: what was there stays until this one is over.

    Example: pilotage-model train examples/train/iris.yaml --out build/iris --signing-key build/keys/bundle.key
    """
    # Imported here: scikit-learn takes seconds, and the other commands do without it.
    from pilotage_server.train.config import ConfigError, read_config
    from pilotage_server.train.deploy.write import staged
    from pilotage_server.train.progress import Told
    from pilotage_server.train.run import train
    from pilotage_server.train.scale.backend import running_backend

    progress = Told(sys.stderr)
    with refusals(), closing(progress):
        parsed = read_config(config)
        if chunk_rows and backend != "local":
            fail("--chunk-rows: a file in pieces is learned in this process; leave out --backend", Exit.USAGE)
        try:
            key = read_signing_key(signing_key) if signing_key else None
        except (ConfigError, ValueError) as error:
            fail(str(error), Exit.USAGE)
        with staged(out) as folder:
            if chunk_rows:
                from pilotage_server.train.scale.run import train_stream

                result = train_stream(parsed, folder, key=key, chunk_rows=chunk_rows, progress=progress)
            else:
                with running_backend(backend, scheduler, jobs) as workers:
                    result = train(parsed, folder, key=key, jobs=workers, progress=progress)
    tell(result.document, is_signed=key is not None)
    print(result.reference)


def tell(document: Mapping[str, Any], *, is_signed: bool) -> None:
    """Say on stderr what a run found."""
    for note in document["warnings"]:
        print(f"warning: {note}", file=sys.stderr)
    if not is_signed:
        print("warning: not signed; clusters accept signed bundles only (--signing-key)", file=sys.stderr)
    metrics = document["metrics"]
    accuracy = metrics["accuracy"]
    print(
        f"{document['name']} {document['version']}: {document['chosen']['name']}, accuracy {accuracy['value']:.3f} "
        f"[{accuracy['low']:.3f}, {accuracy['high']:.3f}] on {metrics['rows']} test rows, "
        f"served by {document['backend']}",
        file=sys.stderr,
    )
