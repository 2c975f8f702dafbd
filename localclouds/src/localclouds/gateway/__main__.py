"""`python -m localclouds.gateway --cloud-dir STATE/<cloud>`: the gateway as a program."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from pathlib import Path

import uvloop

from localclouds.errors import CloudsError
from localclouds.gateway.program import run_gateway
from localclouds.state import Facts, read_facts


def main() -> int:
    """Run until SIGTERM or SIGINT; exit 2 when the cloud's facts cannot be read, 1 when its address is taken."""
    parser = argparse.ArgumentParser(prog="python -m localclouds.gateway", description=__doc__)
    parser.add_argument("--cloud-dir", type=Path, required=True, help="folder with the cloud's cloud.json")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    try:
        facts = read_facts(arguments.cloud_dir)
    except CloudsError as error:
        print(error, file=sys.stderr)
        return 2
    try:
        uvloop.run(_run(facts))
    except OSError as error:
        print(f"{facts.gateway}: {error}", file=sys.stderr)
        return 1
    return 0


async def _run(facts: Facts) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await run_gateway(facts, stopped)


if __name__ == "__main__":
    sys.exit(main())
