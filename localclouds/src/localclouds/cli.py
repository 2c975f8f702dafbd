"""The command `localclouds`: real Kubernetes control planes on this machine's loopback, one per cloud.

Results go to stdout, progress and errors to stderr. Exit codes: 0 done, 1 failed (one message, no traceback), 2 usage.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from localclouds import binaries, gatewayapi, images
from localclouds.cloud import Cloud
from localclouds.clouds import Clouds
from localclouds.errors import CloudsError, NotRunning
from localclouds.names import DEFAULT_CLOUDS, Component
from localclouds.process import follow, tail
from localclouds.state import STATE_VARIABLE, default_state
from localclouds.table import components_table

app = typer.Typer(
    name="localclouds",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help=(
        "Real Kubernetes control planes on this machine's loopback: a hub and one cluster per cloud.\n\n"
        "Start them with `localclouds up`, point kubectl at them with\n"
        '`export KUBECONFIG="$(localclouds kubeconfig)"` and `kubectl --context aws get pods -A`, break them with '
        "`localclouds cut gcp` or `localclouds kill azure etcd`, and remove every trace with `localclouds down`.\n\n"
        "Components of a cloud: etcd, kube-apiserver, kube-controller-manager, kube-scheduler, prometheus, "
        "node (runs pods as processes), gateway (its ingress), front (where clients outside connect)."
    ),
)


class Output(StrEnum):
    """How results are printed."""

    TABLE = "table"
    JSON = "json"


StateOption = Annotated[
    Path,
    typer.Option(
        "--state",
        metavar="DIR",
        default_factory=default_state,
        show_default=f"${STATE_VARIABLE}, else build/clouds",
        help="Where the instance keeps its files; instances with different directories run side by side.",
    ),
]
CloudArgument = Annotated[str, typer.Argument(help="A cloud's name, such as aws.")]
ComponentArgument = Annotated[
    str | None,
    typer.Argument(help="One component, such as kube-apiserver; all when left out."),
]


@app.command()
def up(
    state: StateOption,
    clouds: Annotated[str, typer.Option(metavar="NAMES", help="Names of the clouds, separated by commas.")] = ",".join(
        DEFAULT_CLOUDS
    ),
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Stay, and take all down on Ctrl-C or when killed.")
    ] = False,
    scrape_interval: Annotated[
        float, typer.Option(min=0.1, max=60.0, help="Seconds between two scrapes of every Prometheus.")
    ] = 1.0,
) -> None:
    """Start clouds, and return when every component is ready (about ten seconds for four).

    The first start builds the programs from source (about eight minutes on two cores; PILOTAGE_BIN_DIR names
    a folder of ready ones). The clouds stay until `localclouds down`.
    """
    names = [name.strip() for name in clouds.split(",") if name.strip()]
    instance = Clouds(state, names, scrape_interval_s=scrape_interval, progress=_tell)
    began = time.monotonic()
    if foreground:
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))
        try:
            with instance:
                _introduce(instance, time.monotonic() - began)
                instance.wait()
        except KeyboardInterrupt:
            _tell("stopped; everything is down")
        return
    instance.start()
    instance.detach()
    _introduce(instance, time.monotonic() - began)


@app.command()
def down(state: StateOption) -> None:
    """Stop every cloud of the instance and delete what it kept, but the logs."""
    try:
        instance = Clouds.attach(state)
    except NotRunning:
        _tell(f"nothing is running in {state}")
        return
    instance.stop()
    _tell(f"everything in {state} is down; logs are in {state}/<cloud>/logs until the next start")


@app.command()
def status(
    state: StateOption,
    output: Annotated[Output, typer.Option("--output", "-o", help="How to print.")] = Output.TABLE,
) -> None:
    """Show every component: what it is doing, its pid, its restarts, where it listens."""
    rows = Clouds.attach(state).status()
    match output:
        case Output.TABLE:
            print(components_table(rows))
        case Output.JSON:
            print(json.dumps(rows, indent=2))


@app.command()
def kubeconfig(
    state: StateOption,
    cloud: Annotated[str | None, typer.Argument(help="Only this cloud's.")] = None,
) -> None:
    """Print the path of an admin kubeconfig: one context per cloud, or that of one cloud."""
    instance = Clouds.attach(state)
    print(instance[cloud].kubeconfig if cloud else instance.kubeconfig)


@app.command()
def logs(
    state: StateOption,
    cloud: CloudArgument,
    component: ComponentArgument = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many of the last lines.")] = 20,
    following: Annotated[bool, typer.Option("--follow", "-f", help="Go on as lines are written.")] = False,
) -> None:
    """Print the last log lines of a component, or of all components of a cloud."""
    rows = _cloud(state, cloud).status()
    chosen = [row for row in rows if component in (None, row["component"])]
    if not chosen:
        have = ", ".join(row["component"] for row in rows)
        raise typer.BadParameter(f"{cloud} has no {component}; it has {have}", param_hint="COMPONENT")
    for row in chosen:
        if component is None:
            print(f"==> {row['log']} <==")
        print(tail(Path(row["log"]), lines))
    if following:
        for line in follow([Path(row["log"]) for row in chosen]):
            print(line, flush=True)


@app.command()
def pause(state: StateOption, cloud: CloudArgument, component: ComponentArgument = None) -> None:
    """Freeze a component (SIGSTOP): its connections stay open and nothing answers."""
    _cloud(state, cloud).pause(component)


@app.command()
def resume(state: StateOption, cloud: CloudArgument, component: ComponentArgument = None) -> None:
    """Let a frozen component go on."""
    _cloud(state, cloud).resume(component)


@app.command()
def kill(state: StateOption, cloud: CloudArgument, component: ComponentArgument = None) -> None:
    """Kill a component (SIGKILL); it is started again after half a second."""
    _cloud(state, cloud).kill(component)


@app.command()
def restart(state: StateOption, cloud: CloudArgument, component: ComponentArgument = None) -> None:
    """Stop a component, start it again, and wait until it is ready."""
    _cloud(state, cloud).restart(component)


@app.command()
def cut(
    state: StateOption,
    cloud: CloudArgument,
    refuse: Annotated[bool, typer.Option("--refuse", help="Refuse connections instead of letting them hang.")] = False,
) -> None:
    """Cut a cloud off: clients outside lose its API server, Prometheus and gateway; inside all goes on."""
    _cloud(state, cloud).cut("refused" if refuse else "silent")


@app.command()
def mend(state: StateOption, cloud: CloudArgument) -> None:
    """Undo `cut`."""
    _cloud(state, cloud).mend()


@app.command(name="images")
def print_images(state: StateOption) -> None:
    """Print the pinned reference of every program that pods can name as their image."""
    for name in images.names(state):
        print(images.reference(name, state))


@app.command()
def load(
    state: StateOption,
    layout: Annotated[Path, typer.Argument(metavar="DIR", help="A folder with an OCI image layout.")],
) -> None:
    """Copy the artifacts of an OCI layout to where image volumes are taken from; print their digests."""
    Clouds.attach(state)
    try:
        for digest in images.load(layout, state.absolute() / "oci"):
            print(digest)
    except images.LayoutProblem as error:
        raise CloudsError(str(error)) from error


@app.command()
def build() -> None:
    """Build the programs of the control planes, if they are not in the cache, and print where they are."""
    for program, path in sorted(binaries.ensure(progress=_tell).items()):
        print(f"{program}  {path}")
    gatewayapi.ensure(_tell)


def _cloud(state: Path, name: str) -> Cloud:
    return Clouds.attach(state)[name]


def _introduce(instance: Clouds, took_s: float) -> None:
    _tell(f"{len(instance)} clouds ready in {took_s:.1f} s")
    for cloud in instance.values():
        ingress = f"  gateway {cloud.gateway_url}" if Component.GATEWAY in cloud.facts.components else ""
        print(f"{cloud.name}  api {cloud.api_server}  prometheus {cloud.prometheus_url}{ingress}")
    print(f'export KUBECONFIG="{instance.kubeconfig}"')


def _tell(line: Any) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    """Run the command; what fails is told in one message, exit code 1."""
    try:
        app()
    except CloudsError as error:
        _tell(f"localclouds: {error}")
        sys.exit(1)
    except KeyboardInterrupt:
        _tell("localclouds: interrupted")
        sys.exit(130)


if __name__ == "__main__":
    main()
