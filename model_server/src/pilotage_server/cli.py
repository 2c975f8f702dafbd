"""`pilotage-server`: serve a bundle, or collect labels.

Exit codes: 0 ended as asked, 1 the bundle, a key or the data was refused, 2 usage or settings. The last line
on stderr says why, and the same sentence goes to the container's termination message.

Parsed by argparse, alone among our commands: the libraries the others use would cost every pod 14 MB and 0.2 s.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn

from pilotage_server import __version__
from pilotage_server.logs import configure_logs
from pilotage_server.podroot import pod_path

TERMINATION_LOG: Final = "/dev/termination-log"
_LONGEST_MESSAGE: Final = 4_096
_LAST_PORT: Final = 65_535
_TEXTS: Final = {
    "bundle": "Bundle folder, OCI layout, or LAYOUT@sha256:…",
    "host": "Address to bind. [default: 127.0.0.1]",
    "port": "Port of the data plane. [default: 8080]",
    "admin-port": "Port of metrics and probes. [default: 8081]",
    "grpc-port": "Port of the same over gRPC; none: off.",
    "bundle-key-dir": "Folder with trusted *.pub keys.",
    "feedback-key-dir": "Folder with feedback keys; none: no tokens.",
    "drain-seconds": "Lame duck after SIGTERM. [default: 10]",
    "threads": "Threads of ONNX Runtime. [default: 1]",
    "payload-log": "Log requests with tokens: a file, a folder, an http(s) URL, or - for stdout.",
}
_SWITCHES: Final = {"explain": "Answer POST …/explain.", "allow-unsigned": "Serve unverified bundles."}
_SERVE: Final = """Serve a bundle over the Open Inference Protocol V2.

Every option is also a variable PILOTAGE_SERVER_<OPTION>; so are MAX_BODY_BYTES, MAX_ROWS, MAX_QUEUE_ROWS,
MAX_SERIES, BATCH_ROWS, CONNECTION_REQUESTS, CONNECTION_SECONDS, IDLE_SECONDS, FINISH_SECONDS,
LAST_SCRAPE_SECONDS, PAYLOAD_SHARE, PAYLOAD_REDACT (columns) and PAYLOAD_MAX_BYTES."""
_COLLECT: Final = "Collect labels of one model in one cluster, and count each once when it has matured."


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line."""
    told = _parser().parse_args(arguments)
    configure_logs(readable=sys.stderr.isatty())
    sys.exit(_serve(told) if told.command == "serve" else _collect(told))


def _parser() -> argparse.ArgumentParser:
    text = "Serve one signed bundle of a classifier, and collect the labels that tell how good it is."
    parser = argparse.ArgumentParser(prog="pilotage-server", description=text, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"pilotage-server {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="serve|collect")
    shown = argparse.RawDescriptionHelpFormatter
    serve = commands.add_parser(
        "serve", help=_SERVE.partition("\n")[0], description=_SERVE, formatter_class=shown, allow_abbrev=False
    )
    for name, text in _TEXTS.items():
        serve.add_argument(f"--{name}", help=text)
    for name, text in _SWITCHES.items():
        serve.add_argument(f"--{name}", help=text, action="store_const", const="true")
    collect = commands.add_parser("collect", help=_COLLECT, description=_COLLECT, allow_abbrev=False)
    collect.add_argument("--config", type=Path, required=True, help="collector.json, as the operator writes it.")
    collect.add_argument("--data", type=Path, required=True, help="Folder of the ledger.")
    collect.add_argument("--key-dir", type=Path, required=True, help="Folder with feedback keys.")
    collect.add_argument("--host", default="127.0.0.1", help="Address to bind. [default: 127.0.0.1]")
    collect.add_argument("--port", type=_port, default=8090, help="Port for server pods. [default: 8090]")
    collect.add_argument("--admin-port", type=_port, default=8091, help="Port of metrics and probes. [default: 8091]")
    return parser


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= _LAST_PORT):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to {_LAST_PORT}")
    return int(text)


def _serve(told: argparse.Namespace) -> int:
    # Imported here: `collect` needs neither NumPy's nor ONNX Runtime's start-up time.
    from pilotage_server.bundle import Refused
    from pilotage_server.feedback import KeysRefused
    from pilotage_server.serve import SettingsRefused, read_settings, run_server

    flags = {name.replace("-", "_").upper(): getattr(told, name.replace("-", "_")) for name in (*_TEXTS, *_SWITCHES)}
    try:
        return run_server(read_settings(flags, os.environ))
    except SettingsRefused as refused:
        return _refused(refused, code=2)
    except (Refused, KeysRefused) as refused:
        return _refused(refused, code=1)


def _collect(told: argparse.Namespace) -> int:
    from pilotage_server.feedback.collector import CollectorSettings, SettingsRefused, run_collector

    settings = CollectorSettings(
        config=told.config,
        data=told.data,
        key_dir=told.key_dir,
        host=told.host,
        port=told.port,
        admin_port=told.admin_port,
    )
    try:
        return run_collector(settings)
    except SettingsRefused as refused:
        return _refused(refused, code=1)


def _refused(why: Exception, *, code: int) -> int:
    """Say why on the last line of stderr and in the termination message, where there is one."""
    log, message = pod_path(TERMINATION_LOG), str(why)
    with contextlib.suppress(OSError):
        if log.is_file():
            log.write_text(message[:_LONGEST_MESSAGE], encoding="utf-8")
    print(f"pilotage-server: {message}", file=sys.stderr, flush=True)
    return code
