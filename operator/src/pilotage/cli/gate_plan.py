"""`pilotage gate plan`: what these gates need, and what a rollout under them will probably come to."""

from __future__ import annotations

from typing import Annotated

import typer

from pilotage.cli import gate_plan_views as views
from pilotage.cli import gate_pool
from pilotage.cli.errors import Usage
from pilotage.cli.gate_assumptions import Assumed, setting_of
from pilotage.cli.gate_options import File, Gate, Jobs, Output, OutputOption, Seed
from pilotage.cli.gate_simulate import placed_by, reachable
from pilotage.cli.gate_specs import GateFile, read_gates
from pilotage.cli.grouped import takes
from pilotage.trials import Setting, alone, forecast, power_curve, questions_of, together

HELP = """How many labels and how long will these gates take, and can they be decided before the deadline at all?

Says what each gate needs by itself, the chances of each verdict for an equal and for a bad canary, and the least margin
that can be proved by the deadline. Take the rates from your test set (--confusion) and from your traffic.

\b
Examples:
  pilotage gate plan rollout.yaml --confusion result.json
  pilotage gate plan gates.yaml --requests-per-minute 600 --label-share 0.02 --label-delay 2h
  pilotage gate plan gates.yaml --recall 0.93 --shares no=0.99,yes=0.01 --duration 24h
  pilotage gate plan gates.yaml -o svg > chances.svg

\b
Exit codes:
  0  an equal canary can be proved within every gate before the deadline
  1  some gate asks for more than the labels can prove; the last lines say what would do
  2  usage: the command line, the gates or a file is wrong
"""


@takes(assumed=Assumed)
def plan_command(
    assumed: Assumed,
    file: File,
    runs: Annotated[int, typer.Option("--runs", help="Rollouts for each figure.")] = 100,
    gate: Gate = None,
    seed: Seed = 1,
    jobs: Jobs = 0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Forecasts for these gates; HELP tells users."""
    found = read_gates(file)
    setting = setting_of(assumed, found)
    if runs < 1:
        raise Usage(f"--runs: {runs} is not a number of rollouts; give 1 or more")
    about = placed_by(found, gate)
    curve = power_curve(together(found.spec, setting, about, runs, seed))
    if output is Output.SVG:
        (rows,) = gate_pool.run([reachable(curve)], jobs)
        typer.echo(views.picture(curve, rows), nl=False)
        return
    plan = _played(found, setting, runs, seed, jobs)
    match output:
        case Output.TABLE:
            typer.echo(views.table(plan), nl=False)
        case Output.JSON:
            typer.echo(views.document(plan), nl=False)
        case Output.HTML:
            (rows,) = gate_pool.run([reachable(curve)], jobs)
            typer.echo(views.page(plan, curve, rows), nl=False)
    if not plan.is_provable:
        raise typer.Exit(1)


def _played(found: GateFile, setting: Setting, runs: int, seed: int, jobs: int) -> views.Plan:
    questions = [question for question in questions_of(found.spec) if not question.is_guard]
    single = [reachable(alone(found.spec, setting, question, runs, seed)) for question in questions]
    whole = [reachable(together(found.spec, setting, question, runs, seed)) for question in questions]
    played = gate_pool.run([*single, *whole], jobs)
    forecasts = tuple(forecast(campaign, setting, rows) for campaign, rows in zip(single, played, strict=False))
    return views.Plan(
        setting=setting,
        runs=runs,
        seed=seed,
        forecasts=forecasts,
        outlook=list(zip(forecasts, played[len(single) :], strict=True)),
    )
