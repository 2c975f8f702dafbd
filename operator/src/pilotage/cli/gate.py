"""`pilotage gate`: the tools that make people trust the gate. One command each; this module only names them."""

from __future__ import annotations

import typer

from pilotage.cli import gate_plan, gate_replay, gate_simulate

HELP = """Plan gates before a rollout, see how often they err, play recorded counts through them. Needs no cluster.

\b
Examples:
  pilotage gate plan rollout.yaml --confusion result.json
  pilotage gate simulate rollout.yaml --runs 1000
  pilotage gate replay rollout.yaml counts.jsonl

Each command's --help lists its exit codes.
"""

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None, help=HELP)
app.command("plan", help=gate_plan.HELP)(gate_plan.plan_command)
app.command("simulate", help=gate_simulate.HELP)(gate_simulate.simulate_command)
app.command("replay", help=gate_replay.HELP)(gate_replay.replay_command)
