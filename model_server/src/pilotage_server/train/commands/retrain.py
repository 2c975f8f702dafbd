"""`pilotage-model retrain`: a challenger from feedback, written only if it is proven better than the champion."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from pilotage_server.bundle.commands import push_layout
from pilotage_server.bundle.registry import Reference
from pilotage_server.bundle.signature import read_signing_key
from pilotage_server.feedback.labels import Columns
from pilotage_server.train.commands.ending import Exit, fail, refusals
from pilotage_server.train.commands.train import tell


def retrain_command(
    config: Annotated[Path, typer.Argument(help="Training configuration (YAML) of the champion.")],
    champion: Annotated[Path, typer.Option(help="The bundle that serves now: folder, OCI layout, or LAYOUT@sha256:…")],
    from_feedback: Annotated[
        Path, typer.Option(help="Payload log: JSON lines with token, time, rows; or a folder of *.jsonl.")
    ],
    labels: Annotated[Path, typer.Option(help="Labels as posted: CSV or JSON lines with token, row, label.")],
    out: Annotated[Path, typer.Option(help="Folder for the new bundle, if there is one.")],
    later_share: Annotated[
        float, typer.Option(min=0.1, max=0.9, help="Share of the labelled rows, the latest, that judge.")
    ] = 0.4,
    only_if: Annotated[str, typer.Option(help="Train only for a reason: drift, quality, or drift,quality.")] = "",
    signing_key: Annotated[
        Path | None, typer.Option(help="Private key (ed25519, PEM) to sign the bundle with.")
    ] = None,
    token_column: Annotated[str, typer.Option(help="Column of the token in the labels.")] = "token",  # noqa: S107
    row_column: Annotated[str, typer.Option(help="Column of the row; 0 where it is missing.")] = "row",
    label_column: Annotated[str, typer.Option(help="Column of the label.")] = "label",
    push: Annotated[
        str | None, typer.Option(help="Push a better bundle there: registry.example.com/models/digits:candidate")
    ] = None,
) -> None:
    """Retrain from labelled production rows; prints the new image reference if the challenger is proven better.

    Both models are compared on rows later than either's training rows; the lower end of the paired bootstrap's 95 %
    interval must be above zero. Exit codes: 0 a new bundle, or no reason to train; 1 refused; 2 configuration; 3 data
    checks failed; 4 a fairness limit is broken; 5 not better, nothing written but refused.json.

    Example: pilotage-model retrain digits.yaml --champion build/digits/bundle --from-feedback payloads/
    --labels labels.csv --out build/next --only-if drift,quality
    """
    from pilotage_server.train.config import ConfigError, read_config
    from pilotage_server.train.retrain.run import Better, NotBetter, NotNeeded, Request, retrain
    from pilotage_server.train.retrain.trigger import REASONS

    with refusals():
        wanted = tuple(part for part in only_if.split(",") if part)
        if set(wanted) - set(REASONS):
            raise ConfigError(f"--only-if {only_if}: must be drift, quality, or drift,quality")
        key = read_signing_key(signing_key) if signing_key else None
        target = Reference.parse(push) if push else None
        request = Request(
            champion=champion,
            log=from_feedback,
            labels=labels,
            later_share=later_share,
            only_if=wanted,
            columns=Columns(token=token_column, row=row_column, label=label_column),
        )
        ended = retrain(read_config(config), request, out, key=key)
    match ended:
        case NotNeeded(rows=rows):
            print(f"no reason to retrain: {rows} labelled rows look like the champion's training", file=sys.stderr)
        case NotBetter(compared=found, left_out=left_out):
            _tell_left_out(left_out)
            fail(f"not better: {found.metric} improves by {found.value:.4f} [{found.low:.4f}, {found.high:.4f}] on "
                 f"{found.rows} later rows; the lower end must be above 0", Exit.NOT_BETTER)  # fmt: skip
        case Better(compared=found, left_out=left_out, result=result, reasons=why):
            _tell_left_out(left_out)
            print(*why, sep="\n", end="\n" if why else "", file=sys.stderr)
            tell(result.document, is_signed=key is not None)
            print(f"{found.metric} improves by {found.value:.4f} [{found.low:.4f}, {found.high:.4f}] on {found.rows} "
                  "later rows", file=sys.stderr)  # fmt: skip
            with refusals():
                print(push_layout(out / "oci", target) if target else result.reference)


def _tell_left_out(left_out: Mapping[str, int]) -> None:
    told = ", ".join(f"{count} {reason}" for reason, count in left_out.items() if count)
    if told:
        print(f"rows left out: {told}", file=sys.stderr)
