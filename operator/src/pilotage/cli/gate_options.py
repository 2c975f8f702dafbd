"""Options that several gate commands share, each said once."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from typer import Argument, Option


class Output(StrEnum):
    """How results are written."""

    TABLE = "table"
    JSON = "json"
    SVG = "svg"
    HTML = "html"


File = Annotated[str, Argument(metavar="FILE", help="Gates as YAML or JSON, or a ModelDeployment; - for stdin.")]
OutputOption = Annotated[Output, Option("--output", "-o", help="svg and html: a picture to keep.")]
Seed = Annotated[int, Option("--seed", help="The same seed gives the same results, whatever --jobs.")]
Jobs = Annotated[int, Option("--jobs", "-j", help="Processes; 0: one per core.")]
Gate = Annotated[str | None, Option("--gate", help="Which gate the canary is placed by. Default: the first.")]
