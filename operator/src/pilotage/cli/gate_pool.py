"""A campaign on all cores: pieces to processes, results back, a bar on stderr while it lasts.

The results do not depend on the number of processes. Ctrl-C stops them all.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pilotage.trials import Campaign, Piece, Played, Row, gathered, pieces, play

_PIECES_PER_JOB = 4


def run(campaign: Campaign, jobs: int) -> tuple[Row, ...]:
    """Play the whole campaign with so many processes (0: one per core)."""
    jobs = jobs or len(os.sched_getaffinity(0))
    size = max(1, -(-campaign.runs // (jobs * _PIECES_PER_JOB)))
    todo = pieces(campaign, size)
    with _bar() as bar:
        task = bar.add_task("rollouts", total=campaign.runs * len(campaign.scenarios))

        def done(played: Played) -> None:
            bar.update(task, advance=len(played.ours), description=played.piece.scenario.name)

        return gathered(campaign, _in_process(campaign, todo, done) if jobs == 1 else _pool(campaign, todo, jobs, done))


def _in_process(campaign: Campaign, todo: list[Piece], done: Callable[[Played], None]) -> list[Played]:
    found = []
    for piece in todo:
        found.append(play(campaign, piece))
        done(found[-1])
    return found


def _pool(campaign: Campaign, todo: list[Piece], jobs: int, done: Callable[[Played], None]) -> list[Played]:
    # spawn: a fork would copy the bar's thread in an unknown state
    pool = ProcessPoolExecutor(max_workers=jobs, mp_context=get_context("spawn"), initializer=_leave_ctrl_c_to_parent)
    found = []
    try:
        for future in as_completed([pool.submit(play, campaign, piece) for piece in todo]):
            found.append(future.result())
            done(found[-1])
    finally:
        pool.shutdown(cancel_futures=True)
    return found


def _leave_ctrl_c_to_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _bar() -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description:<16}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not (console.is_terminal and sys.stderr.isatty()),
    )
