"""`pilotage-model`: everything about a classifier before it serves, and about its successor.

stdout carries the result (a reference, a manifest), stderr the rest.
"""

from __future__ import annotations

import signal
from typing import Annotated

import typer

from pilotage_server import __version__
from pilotage_server.bundle.commands import pull_command, push_command
from pilotage_server.feedback.cli import feedback_command
from pilotage_server.train.commands import bundles, deploying
from pilotage_server.train.commands.ending import HELP
from pilotage_server.train.commands.retrain import retrain_command
from pilotage_server.train.commands.train import train_command

app = typer.Typer(
    name="pilotage-model",
    help="Train classifiers into signed bundles, look into bundles, and take them to clusters.",
    epilog=HELP,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",  # paragraphs of help are wrapped as the terminal is wide
    pretty_exceptions_enable=False,
)

app.command("train")(train_command)
app.command("keygen")(bundles.keygen_command)
app.command("inspect")(bundles.inspect_command)
app.command("verify")(bundles.verify_command)
app.command("sign")(bundles.sign_command)
app.command("export")(bundles.export_command)
app.command("advise")(deploying.advise_command)
app.command("manifest")(deploying.manifest_command)
app.command("report")(deploying.report_command)
app.command("feedback")(feedback_command)
app.command("retrain")(retrain_command)
app.command("push")(push_command)
app.command("pull")(pull_command)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"pilotage-model {__version__}")
        raise typer.Exit


@app.callback()
def _before(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Every command comes after its callback."""


def main() -> None:
    """Run the command line; asked to end (SIGTERM), it ends as after Ctrl-C, with nothing half-written."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    app()
