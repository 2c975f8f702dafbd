"""One target under atheris, in a process of its own: it never returns, libFuzzer ends it.

Arguments: target, the run a bundle was trained in, the folder for the corpus, then libFuzzer's own.
"""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path

import atheris
import structlog


def main() -> None:
    """Instrument our modules while they are imported, write the seeds, and fuzz."""
    name, run, corpus, *flags = sys.argv[1:]
    logging.disable(logging.WARNING)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    warnings.simplefilter("error")  # nothing a client sends may make a library complain on stderr
    with atheris.instrument_imports(include=["pilotage_server"]):
        from benchmarks.fuzz.targets import TARGETS
    target = TARGETS[name](Path(run))
    for number, seed in enumerate(target.seeds):
        Path(corpus, f"seed-{number}").write_bytes(seed)
    atheris.Setup([sys.argv[0], *flags], target.take)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
