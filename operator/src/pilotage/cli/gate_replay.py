"""`pilotage gate replay`: recorded counts through one or two files of gates: what would they have said, and why."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from pilotage.cli import gate_replay_views as views
from pilotage.cli.errors import Usage
from pilotage.cli.gate_options import File, Output, OutputOption
from pilotage.cli.gate_prometheus import Source, record
from pilotage.cli.gate_specs import GateFile, read_gates
from pilotage.cli.grouped import takes
from pilotage.gate import BlockError, GateSpecError
from pilotage.trials import Recording, RecordingError, decode_recording, replayed

HELP = """What would these gates have said about recorded counts, when, and why?

RECORDING holds JSON lines: one block per line with the increments since the line before, an optional header first.

\b
  {"classes": ["ham", "spam"], "shares": {"aws": 0.7, "gcp": 0.3}, "history": {}}
  {"at": 60, "step": 0, "clusters": {"aws": {"stable": {"confusion": {"spam": {"spam": 9, "ham": 1}}},
                                             "canary": {"confusion": {"spam": {"spam": 4}}}}}}

Without a header the classes are those that occur, and a cluster's share is that of its rows. Counts are as the gate
takes them: confusion, served, proportions, buckets, means, audit, late, inputs, confidence. Write one line each.

\b
Examples:
  pilotage gate replay rollout.yaml counts.jsonl
  pilotage gate replay rollout.yaml counts.jsonl --against stricter.yaml
  pilotage gate replay rollout.yaml counts.jsonl -o svg > evidence.svg
  pilotage gate replay rollout.yaml --prometheus aws=https://prometheus.example.com --model digits -n models \\
    --stable digits-0a1b2c3d4e --canary digits-5f6a7b8c9d --from 2027-01-08T08:00:00Z --record counts.jsonl

\b
Exit codes:
  0  no gate would have failed
  1  a gate would have failed (of FILE; --against does not count)
  2  usage: the command line, the gates or the recording is wrong
  4  a Prometheus is out of reach, or does not have exact counts for the range
"""


@takes(source=Source)
def replay_command(
    source: Source,
    file: File,
    recording: Annotated[str | None, typer.Argument(metavar="[RECORDING]", help="JSON lines; - for stdin.")] = None,
    against: Annotated[str | None, typer.Option("--against", help="Another file of gates, to compare.")] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Replay a recording; HELP tells users."""
    files = [read_gates(path) for path in (file, against) if path is not None]
    told = _told(source, recording, files[0])
    opinions = [_opinion(each, told) for each in files]
    match output:
        case Output.TABLE:
            typer.echo(views.table(told, opinions), nl=False)
        case Output.JSON:
            typer.echo(views.document(told, opinions), nl=False)
        case Output.SVG:
            typer.echo(views.picture(told, opinions), nl=False)
        case Output.HTML:
            typer.echo(views.page(told, opinions), nl=False)
    decided = opinions[0].replay.decided
    if decided is not None and decided[0] == "Fail":
        raise typer.Exit(1)


def _told(source: Source, path: str | None, file: GateFile) -> Recording:
    if (path is None) == (not source.prometheus):
        raise Usage("give a RECORDING, or --prometheus cluster=URL with --model, --stable, --canary and --from")
    return record(source, file) if path is None else _read(path)


def _read(path: str) -> Recording:
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
        return decode_recording(text.splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise Usage(f"{path}: cannot be read ({error}); give a file of JSON lines, or - for stdin") from error
    except RecordingError as error:
        raise Usage(f"{path}: {error}") from error


def _opinion(file: GateFile, recording: Recording) -> views.Opinion:
    try:
        replay = replayed(file.analysis, recording)
    except GateSpecError as error:
        raise Usage("\n".join(f"{file.path}: {problem}" for problem in error.problems)) from error
    except (BlockError, ValueError) as error:
        raise Usage(f"the recording does not fit {file.path}: {error}") from error
    return views.Opinion(name=Path(file.path).name, analysis=file.analysis, replay=replay)
