"""The command line: words in, one call to `hub`, a view or a verb out. Decides nothing itself.

Results go to stdout, everything else to stderr; no colour and no redrawing off a terminal. Exit codes are those of
`cli.errors`; Argo's zero and non-zero are kept.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from enum import StrEnum
from importlib.metadata import version as installed
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.text import Text

from pilotage.api.times import parse_duration
from pilotage.api.types import ModelDeployment, Phase
from pilotage.cli import gate, table, tree, verbs
from pilotage.cli.errors import CommandFailed, TimedOut, Usage
from pilotage.cli.hub import Hub, Snapshot, connect
from pilotage.cli.progress import is_over, phase_of, status_line
from pilotage.cli.words import STYLES

LOOK_S = 1.0
"""How often a watching command looks again."""


class Output(StrEnum):
    """How `get` prints."""

    TREE = "tree"
    JSON = "json"


Name = Annotated[str, typer.Argument(help="Name of the ModelDeployment.", show_default=False)]
Kubeconfig = Annotated[str | None, typer.Option("--kubeconfig", envvar="KUBECONFIG", help="As for kubectl.")]
Context = Annotated[str | None, typer.Option("--context", help="The kubeconfig's context of the hub.")]
Namespace = Annotated[str | None, typer.Option("--namespace", "-n", help="Default: the context's.")]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "See and steer rollouts of classifier models. Uses your kubeconfig and your rights on the hub.\n\n"
        "Examples:\n\n  pilotage get\n\n  pilotage get digits --watch\n\n  pilotage status digits --timeout 1h\n\n"
        "  pilotage abort digits\n\n"
        "Exit codes: 0 done or healthy, 1 failed or degraded, 2 usage, 3 timed out, 4 hub out of reach."
    ),
)


app.add_typer(gate.app, name="gate")


@app.command("get")
def get_command(
    name: Annotated[str | None, typer.Argument(help="A ModelDeployment; left out: list them.")] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Redraw as it changes, until Ctrl-C.")] = False,
    all_namespaces: Annotated[bool, typer.Option("--all-namespaces", "-A")] = False,
    output: Annotated[Output, typer.Option("--output", "-o")] = Output.TREE,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Namespace = None,
) -> None:
    """Show a rollout as a tree of revisions, waves, clusters and gates, or list all.

    A gate reads `recall[8] 0.931 [0.902, 0.953] n=1204 floor 0.9 ✔ Pass`: the canary's estimate over the production
    mix, its always-valid bounds, matured labels, what was asked, the verdict.
    """
    hub = connect(kubeconfig, context, namespace)

    def view() -> str:
        if name is None:
            found = hub.deployments(all_namespaces)
            return _listed_as_json(found) if output is Output.JSON else table.render(found, time.time(), all_namespaces)
        snapshot = hub.snapshot(name)
        return _as_json(snapshot) if output is Output.JSON else tree.render(snapshot, time.time())

    _show(view, watch)


@app.command("status")
def status_command(
    name: Name,
    watch: Annotated[bool, typer.Option("--watch/--no-watch", "-w", help="Wait until it is over.")] = True,
    timeout: Annotated[str | None, typer.Option(help="Give up after, such as 90s or 2h; default: never.")] = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Namespace = None,
) -> None:
    """Wait until a rollout is over and say how it ended: exit 0 Healthy or Paused, 1 Degraded, 3 timed out."""
    ends = time.monotonic() + _seconds(timeout) if timeout else float("inf")
    hub, said = connect(kubeconfig, context, namespace), ""
    while True:
        deployment = hub.snapshot(name).deployment
        if status_line(deployment) != said:
            said = status_line(deployment)
            typer.echo(said)
        if is_over(deployment) or not watch:
            raise typer.Exit(1 if phase_of(deployment) is Phase.DEGRADED else 0)
        if time.monotonic() >= ends:
            raise TimedOut(f"{name} is still {said} after {timeout}")
        _look_again()


@app.command("promote")
def promote_command(
    name: Name,
    full: Annotated[bool, typer.Option("--full", help="Skip steps and gates; recorded as ungated.")] = False,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Namespace = None,
) -> None:
    """End the pause of the step under way. Gates still decide, unless --full."""
    said = "promoted past its gates, recorded as ungated" if full else "the step's pause has ended"
    _act(connect(kubeconfig, context, namespace), name, verbs.promote_full if full else verbs.promote, said)


@app.command("abort")
def abort_command(
    name: Name, kubeconfig: Kubeconfig = None, context: Context = None, namespace: Namespace = None
) -> None:
    """End the rollout under way: every cluster returns to stable, and the revision waits for `pilotage retry`."""
    _act(connect(kubeconfig, context, namespace), name, verbs.abort, "the rollout is aborted")


@app.command("retry")
def retry_command(
    name: Name,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget the evidence gathered so far.")] = False,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Namespace = None,
) -> None:
    """Try the revision again that was rolled back, aborted or expired. Its pass evidence goes on, unless --fresh."""
    hub = connect(kubeconfig, context, namespace)
    _act(hub, name, lambda deployment: verbs.retry(deployment, fresh), "another attempt begins")


@app.command("pause")
def pause_command(
    name: Name, kubeconfig: Kubeconfig = None, context: Context = None, namespace: Namespace = None
) -> None:
    """Start nothing new: no step, no wave. A failing gate still rolls back; deadlines stand still."""
    _act(connect(kubeconfig, context, namespace), name, verbs.pause, "paused")


@app.command("resume")
def resume_command(
    name: Name, kubeconfig: Kubeconfig = None, context: Context = None, namespace: Namespace = None
) -> None:
    """Lift `pilotage pause`."""
    _act(connect(kubeconfig, context, namespace), name, verbs.resume, "resumed")


@app.command("version")
def version_command() -> None:
    """Print the version."""
    typer.echo(f"pilotage {installed('pilotage')}")


def main() -> None:
    """Entry point of `pilotage` and `kubectl-pilotage`: no tracebacks for what a user can cause."""
    try:
        app()
    except CommandFailed as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(error.code)
    except KeyboardInterrupt:
        sys.exit(130)


def _act(hub: Hub, name: str, verb: Callable[[ModelDeployment], verbs.Patch], said: str) -> None:
    hub.patch(name, verb(hub.snapshot(name).deployment))
    typer.echo(f"modeldeployment.pilotage.dev/{name}: {said}")


def _show(view: Callable[[], str], watch: bool) -> None:
    console = Console(highlight=False, soft_wrap=True)
    if not watch:
        console.print(_coloured(view()), end="")
    elif console.is_terminal:
        with Live(console=console, auto_refresh=False, screen=False) as live:
            while True:
                live.update(_coloured(view()), refresh=True)
                _look_again()
    else:
        _print_changes(console, view)


def _print_changes(console: Console, view: Callable[[], str]) -> None:
    """Off a terminal there is nothing to redraw: print each new picture below the last."""
    said = ""
    while True:
        if (text := view()) != said:
            said = text
            console.print(Text(text), end="")
        _look_again()


def _coloured(text: str) -> Text:
    coloured = Text(text)
    for symbol, style in STYLES.items():
        coloured.highlight_words([symbol], style)
    return coloured


def _look_again() -> None:
    time.sleep(LOOK_S)


def _seconds(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise Usage(f"--timeout: {error}") from error


def _as_json(snapshot: Snapshot) -> str:
    return json.dumps(snapshot.raw, indent=2, ensure_ascii=False) + "\n"


def _listed_as_json(found: tuple[ModelDeployment, ...]) -> str:
    listed = [
        {
            "namespace": each.metadata.namespace,
            "name": each.metadata.name,
            "phase": phase_of(each).value,
            "message": each.status.message,
        }
        for each in found
    ]
    return json.dumps(listed, indent=2, ensure_ascii=False) + "\n"
