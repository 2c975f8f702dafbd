"""How a command ends: one exit code per meaning, one sentence on stderr, no traceback."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import NoReturn

import typer

from pilotage_server.bundle import Refused


class Exit(IntEnum):
    """Exit codes of `pilotage-model`."""

    DONE = 0
    REFUSED = 1
    USAGE = 2
    DATA = 3
    FAIRNESS = 4
    NOT_BETTER = 5
    INTERRUPTED = 130


HELP = (
    "Exit codes: 0 done; 1 refused or failed; 2 usage or configuration; 3 data checks failed; 4 a fairness limit is "
    "broken; 5 the challenger is not better (retrain); 130 interrupted."
)


def fail(message: str, code: Exit = Exit.REFUSED) -> NoReturn:
    """Say why on stderr and end."""
    print(f"pilotage-model: {message}", file=sys.stderr)
    raise typer.Exit(int(code))


@contextmanager
def refusals() -> Iterator[None]:
    """End with the code a foreseen error means."""
    from pilotage_server.train.config.types import ConfigError  # types only: no scikit-learn behind it
    from pilotage_server.train.refusals import FairnessFailed, QualityFailed

    try:
        yield
    except KeyboardInterrupt:
        fail("interrupted; nothing was written", Exit.INTERRUPTED)
    except QualityFailed as error:
        fail(str(error), Exit.DATA)
    except FairnessFailed as error:
        fail(str(error), Exit.FAIRNESS)
    except ConfigError as error:
        fail(str(error), Exit.USAGE)
    except Refused as error:
        fail(str(error), Exit.REFUSED)
