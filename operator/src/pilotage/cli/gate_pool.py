"""A campaign on all cores: pieces to processes, results back, a bar on stderr while it lasts.

The results do not depend on the number of processes. Ctrl-C stops them all.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pilotage.trials import Campaign, Piece, Played, Row, gathered, pieces, play

_PIECES_PER_JOB = 4
_Work = list[tuple[int, Piece]]
_Done = Callable[[int, Played], None]


def run(campaigns: Sequence[Campaign], jobs: int) -> list[tuple[Row, ...]]:
    """Play campaigns with so many processes (0: one per core); each one's rows, in order."""
    jobs = jobs or len(os.sched_getaffinity(0))
    todo = [
        (n, piece)
        for n, campaign in enumerate(campaigns)
        for piece in pieces(campaign, max(1, -(-campaign.runs // (jobs * _PIECES_PER_JOB))))
    ]
    found: list[list[Played]] = [[] for _ in campaigns]
    with _bar() as bar:
        task = bar.add_task("rollouts", total=sum(piece.last - piece.first for _, piece in todo))

        def done(n: int, played: Played) -> None:
            found[n].append(played)
            bar.update(task, advance=len(played.ours), description=played.piece.scenario.name)

        if jobs == 1:
            for n, piece in todo:
                done(n, play(campaigns[n], piece))
        else:
            _pool(campaigns, todo, jobs, done)
    return [gathered(campaign, played) for campaign, played in zip(campaigns, found, strict=True)]


def _pool(campaigns: Sequence[Campaign], todo: _Work, jobs: int, done: _Done) -> None:
    # spawn: a fork would copy the bar's thread in an unknown state
    pool = ProcessPoolExecutor(max_workers=jobs, mp_context=get_context("spawn"), initializer=_leave_ctrl_c_to_parent)
    try:
        futures = {pool.submit(play, campaigns[n], piece): n for n, piece in todo}
        for future in as_completed(futures):
            done(futures[future], future.result())
    finally:
        pool.shutdown(cancel_futures=True)


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
