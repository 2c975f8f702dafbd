"""`pilotage-operator`: flags and environment to settings, then the operator, then an exit code.

0: asked to end. 1: something that must hold does not (lease lost, blind watch, CRDs missing, a bug). 2: bad settings.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Sequence

import structlog

from pilotage import logs
from pilotage.settings import SettingsRefused, parse

log = structlog.get_logger("pilotage")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the operator; never returns."""
    try:
        settings = parse(sys.argv[1:] if arguments is None else arguments)
    except SettingsRefused as refused:
        for problem in refused.problems:
            print(problem, file=sys.stderr)  # the logs are not set up yet
        sys.exit(2)
    logs.configure(settings.log_level, as_json=settings.log_format == "json")
    # after the settings: loading the clients takes a second, and a typo should not
    from pilotage.app import CannotStart
    from pilotage.hub.keys import BlindWatch
    from pilotage.kube import KubeError
    from pilotage.production import run

    _look_seldom_for_cycles()
    expected = (CannotStart, BlindWatch, KubeError, OSError)
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(run(settings))
    except KeyboardInterrupt:
        sys.exit(0)
    except expected as error:
        _give_up(error)
    except BaseExceptionGroup as group:
        known, unknown = group.split(expected)
        if unknown is not None:
            log.critical("operator.failed", exc_info=unknown)
            sys.exit(1)
        _give_up(*(known.exceptions if known else ()))
    sys.exit(0)


def _look_seldom_for_cycles() -> None:
    """Caches are filled with a million containers that stay: looking through them as they grow cost a third of a
    restart's CPU (benchmarks/operator_restart.py).
    """
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


def _give_up(*errors: BaseException) -> None:
    for error in errors:
        log.critical("operator.ended", reason=type(error).__name__, error=str(error))
    sys.exit(1)


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.Loop


if __name__ == "__main__":
    main()
