"""`pilotage gate simulate`: how often these gates err on traffic whose truth is known. Reads, plays, renders."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from pilotage.cli import gate_pool
from pilotage.cli import gate_simulate_views as views
from pilotage.cli.errors import Usage
from pilotage.cli.gate_assumptions import Assumed, setting_of
from pilotage.cli.gate_options import File, Gate, Jobs, Output, OutputOption, Seed
from pilotage.cli.gate_specs import GateFile, read_gates
from pilotage.cli.grouped import takes
from pilotage.gate import Analysis
from pilotage.trials import (
    Campaign,
    Question,
    Row,
    Scenario,
    Setting,
    Unreachable,
    catalogue,
    questions_of,
    value,
    world_of,
)

HELP = """How often do these gates err, and how long do they take? Simulated rollouts with a known truth.

A false Pass promotes a model that breaks a gate, a false Fail rolls back one that breaks none. Beside the gate: point
thresholds as Argo Rollouts and Flagger document them, judging the same traffic.

\b
Examples:
  pilotage gate simulate rollout.yaml
  pilotage gate simulate gates.yaml --recall ham=0.98,spam=0.9 --shares ham=0.8,spam=0.2
  pilotage gate simulate gates.yaml --scenario boundary --scenario sticky --looks 4320
  pilotage gate simulate gates.yaml --confusion result.json --runs 1000 -o html > errors.html

\b
Exit codes:
  0  alpha and beta are kept in every scenario, give or take three standard errors
  1  they are not
  2  usage: the command line, the gates or a file is wrong
"""


@takes(assumed=Assumed)
def simulate_command(
    assumed: Assumed,
    file: File,
    runs: Annotated[int, typer.Option("--runs", help="Rollouts of each scenario.")] = 200,
    scenario: Annotated[list[str] | None, typer.Option("--scenario", help="Only these; repeatable.")] = None,
    worse: Annotated[str, typer.Option("--worse", help="Bad canaries, this much worse: 0.02,0.1.")] = "",
    gate: Gate = None,
    peers: Annotated[
        bool, typer.Option("--peers/--no-peers", help="Also play Argo's and Flagger's thresholds.")
    ] = True,
    seed: Seed = 1,
    jobs: Jobs = 0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Simulated rollouts of these gates; HELP tells users."""
    found = read_gates(file)
    setting = setting_of(assumed, found)
    about = placed_by(found, gate)
    if runs < 1:
        raise Usage(f"--runs: {runs} is not a number of rollouts; give 1 or more, 1000 for errors of 0.7 points")
    campaign = Campaign(
        spec=found.spec,
        setting=setting,
        about=about.name,
        scenarios=chosen(setting, about, scenario or [], worse),
        runs=runs,
        seed=seed,
        peers=peers,
    )
    campaign = reachable(campaign)
    (rows,) = gate_pool.run([campaign], jobs)
    typer.echo(_rendered(output, campaign, found.analysis, rows), nl=False)
    levels = found.analysis.settings
    if not all(row.keeps(levels.alpha, levels.beta) for row in rows if row.scenario.is_ours):
        raise typer.Exit(1)


def placed_by(found: GateFile, name: str | None) -> Question:
    """The gate in question; Usage for one that no simulated model can be placed by."""
    able = {q.name: q for q in questions_of(found.spec) if not q.is_guard}
    if name is None:
        if not able:
            raise Usage(f"{found.path}: only label-free guards; they have no boundary to place a model on: add a gate")
        return next(iter(able.values()))
    if name not in able:
        raise Usage(f"--gate: {name!r} is not a gate of {found.path} with a metric; there are {', '.join(able)}")
    return able[name]


def chosen(setting: Setting, about: Question, names: list[str], worse: str) -> tuple[Scenario, ...]:
    """The scenarios asked for; Usage for unknown names."""
    stable = value(about, setting.stable, setting.shares)
    if stable is None:
        raise Usage(f"--shares: {about.title} of stable is undefined (0/0); give every class it needs a share")
    every = catalogue(about, stable, _worse(worse))
    known = {each.name: each for each in every}
    for name in names:
        if name not in known:
            raise Usage(f"--scenario: {name!r} is not known; there are {', '.join(known)}")
    return tuple(each for each in every if not names or each.name in names)


def reachable(campaign: Campaign) -> Campaign:
    """Without the scenarios in which no canary can stand; what is left out is said on stderr."""
    kept = []
    for scenario in campaign.scenarios:
        try:
            world_of(campaign, scenario)
        except Unreachable as error:
            typer.echo(f"{scenario.name} left out: {error}", err=True)
        else:
            kept.append(scenario)
    if not kept:
        raise Usage("no scenario can be simulated with these rates; change --recall or the gate")
    return replace(campaign, scenarios=tuple(kept))


def _rendered(output: Output, campaign: Campaign, analysis: Analysis, rows: tuple[Row, ...]) -> str:
    match output:
        case Output.TABLE:
            return views.table(campaign, analysis, rows)
        case Output.JSON:
            return views.document(campaign, analysis, rows)
        case Output.SVG:
            return views.picture(campaign, analysis, rows)
        case Output.HTML:
            return views.page(campaign, analysis, rows)


def _worse(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(",") if part)
    except ValueError as error:
        raise Usage(f"--worse: {text!r} is not a list of numbers; write for example 0.02,0.05") from error
