"""`pilotage-server`: serve a bundle, or collect labels.

Exit codes: 0 ended as asked, 1 the bundle, a key or the data was refused, 2 usage or settings. The last line
on stderr says why, and the same sentence goes to the container's termination message.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from pilotage_server.logs import configure_logs
from pilotage_server.podroot import pod_path

TERMINATION_LOG = "/dev/termination-log"
_LONGEST_MESSAGE = 4_096

app = typer.Typer(
    name="pilotage-server",
    help="Serve one signed bundle of a classifier, and collect the labels that tell how good it is.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
def serve(
    bundle: Annotated[str | None, typer.Option(help="Bundle folder, OCI layout, or LAYOUT@sha256:…")] = None,
    host: Annotated[str | None, typer.Option(help="Address to bind. [default: 127.0.0.1]")] = None,
    port: Annotated[str | None, typer.Option(help="Port of the data plane. [default: 8080]")] = None,
    admin_port: Annotated[str | None, typer.Option(help="Port of metrics and probes. [default: 8081]")] = None,
    grpc_port: Annotated[str | None, typer.Option(help="Port of the same over gRPC; none: off.")] = None,
    bundle_key_dir: Annotated[str | None, typer.Option(help="Folder with trusted *.pub keys.")] = None,
    feedback_key_dir: Annotated[str | None, typer.Option(help="Folder with feedback keys; none: no tokens.")] = None,
    drain_seconds: Annotated[str | None, typer.Option(help="Lame duck after SIGTERM. [default: 10]")] = None,
    threads: Annotated[str | None, typer.Option(help="Threads of ONNX Runtime. [default: 1]")] = None,
    payload_log: Annotated[
        str | None, typer.Option(help="Log requests with tokens: a file, a folder, an http(s) URL, or - for stdout.")
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Answer POST …/explain.")] = False,
    allow_unsigned: Annotated[bool, typer.Option("--allow-unsigned", help="Serve unverified bundles.")] = False,
) -> None:
    """Serve a bundle over the Open Inference Protocol V2.

    Every option is also a variable PILOTAGE_SERVER_<OPTION>; so are MAX_BODY_BYTES, MAX_ROWS, MAX_QUEUE_ROWS,
    MAX_SERIES, BATCH_ROWS, CONNECTION_REQUESTS, CONNECTION_SECONDS, IDLE_SECONDS, FINISH_SECONDS,
    LAST_SCRAPE_SECONDS, PAYLOAD_SHARE, PAYLOAD_REDACT (columns) and PAYLOAD_MAX_BYTES.
    """
    # Imported here: `collect` needs neither NumPy's nor ONNX Runtime's start-up time.
    from pilotage_server.bundle import Refused
    from pilotage_server.feedback import KeysRefused
    from pilotage_server.serve import SettingsRefused, read_settings, run_server

    configure_logs(readable=sys.stderr.isatty())
    flags = {
        "BUNDLE": bundle,
        "HOST": host,
        "PORT": port,
        "ADMIN_PORT": admin_port,
        "GRPC_PORT": grpc_port,
        "BUNDLE_KEY_DIR": bundle_key_dir,
        "FEEDBACK_KEY_DIR": feedback_key_dir,
        "DRAIN_SECONDS": drain_seconds,
        "THREADS": threads,
        "PAYLOAD_LOG": payload_log,
        "EXPLAIN": "true" if explain else None,
        "ALLOW_UNSIGNED": "true" if allow_unsigned else None,
    }
    try:
        code = run_server(read_settings(flags, os.environ))
    except SettingsRefused as refused:
        _end(str(refused), code=2)
    except (Refused, KeysRefused) as refused:
        _end(str(refused), code=1)
    raise typer.Exit(code)


@app.command()
def collect(
    config: Annotated[Path, typer.Option(help="collector.json, as the operator writes it.")],
    data: Annotated[Path, typer.Option(help="Folder of the ledger.")],
    key_dir: Annotated[Path, typer.Option(help="Folder with feedback keys.")],
    host: Annotated[str, typer.Option(help="Address to bind.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port for server pods.")] = 8090,
    admin_port: Annotated[int, typer.Option(help="Port of metrics and probes.")] = 8091,
) -> None:
    """Collect labels of one model in one cluster, and count each once when it has matured."""
    from pilotage_server.feedback.collector import CollectorSettings, SettingsRefused, run_collector

    configure_logs(readable=sys.stderr.isatty())
    settings = CollectorSettings(config=config, data=data, key_dir=key_dir, host=host, port=port, admin_port=admin_port)
    try:
        code = run_collector(settings)
    except SettingsRefused as refused:
        _end(str(refused), code=1)
    raise typer.Exit(code)


def _end(message: str, *, code: int) -> NoReturn:
    """Say why on the last line of stderr and in the termination message, where there is one."""
    log = pod_path(TERMINATION_LOG)
    with contextlib.suppress(OSError):
        if log.is_file():
            log.write_text(message[:_LONGEST_MESSAGE], encoding="utf-8")
    print(f"pilotage-server: {message}", file=sys.stderr, flush=True)
    raise typer.Exit(code)


def main() -> None:
    """Run the command line."""
    app()
