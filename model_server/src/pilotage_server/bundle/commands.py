"""`pilotage-model push` and `pull`: a bundle to a registry and back. Only the reference goes to stdout."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from pilotage_server.bundle.errors import Refused
from pilotage_server.bundle.registry import Reference, Registry, find_login
from pilotage_server.bundle.transfer import Progress, pull, push

_Insecure = Annotated[bool, typer.Option("--plain-http", help="Speak HTTP. Hosts on this machine always do.")]


def push_command(
    layout: Annotated[Path, typer.Argument(help="OCI layout, such as the oci/ folder of a training run.")],
    reference: Annotated[str, typer.Argument(help="Where to: registry.example.com/models/digits:2.1.0")],
    plain_http: _Insecure = False,
) -> None:
    """Push a bundle to an OCI registry; prints the reference, pinned by digest, for spec.model.bundle.

    Blobs the registry has are not sent again. The login is PILOTAGE_REGISTRY_USER and PILOTAGE_REGISTRY_PASSWORD, or
    what docker or podman wrote down (without credential helpers). Exit codes: 0 pushed, 1 refused, 2 usage.

    Example: pilotage-model push build/digits/oci registry.example.com/models/digits:2.1.0
    """
    try:
        print(push_layout(layout, Reference.parse(reference), plain_http=plain_http))
    except Refused as refused:
        _fail(refused)


def push_layout(layout: Path, reference: Reference, *, plain_http: bool = False) -> str:
    """Push, telling what moves on stderr; gives the reference, pinned by digest. Raises `Refused`."""
    return push(layout, reference, _registry(reference, plain_http), _tell("sent"))


def pull_command(
    reference: Annotated[str, typer.Argument(help="registry.example.com/models/digits:2.1.0, or …@sha256:…")],
    out: Annotated[Path, typer.Option(help="Folder for the OCI layout; must not hold one.")],
    plain_http: _Insecure = False,
) -> None:
    """Pull a bundle into an OCI layout, every blob proven by its digest; prints the pinned reference.

    Look at it with `pilotage-model inspect OUT`, prove it with `pilotage-model verify OUT --keys DIR`.
    Exit codes: 0 pulled, 1 refused, 2 usage.

    Example: pilotage-model pull registry.example.com/models/digits:2.1.0 --out build/pulled
    """
    try:
        if (out / "index.json").exists():
            raise Refused(str(out), "holds a layout already", "name an empty folder")
        parsed = Reference.parse(reference)
        print(pull(parsed, _registry(parsed, plain_http), out, _tell("fetched")))
    except Refused as refused:
        _fail(refused)


def _registry(reference: Reference, plain_http: bool) -> Registry:
    return Registry(reference, plain_http=plain_http, login=find_login(reference.host))


def _tell(verb: str) -> Progress:
    def tell(digest: str, size: int, moved: bool) -> None:
        print(f"{digest[:19]}  {size:>12,} bytes  {verb if moved else 'was there'}", file=sys.stderr)

    return tell


def _fail(refused: Refused) -> NoReturn:
    print(f"pilotage-model: {refused}", file=sys.stderr)
    raise typer.Exit(1)
