"""What a person watching the demo sees: stages with their times, and the tree of the rollout as it changes.

On a terminal the tree is redrawn in place; elsewhere every change of the rollout's message is a line. Knows nothing of
clouds.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.text import Text

from pilotage.cli import tree
from pilotage.cli.hub import Snapshot
from pilotage.cli.words import STYLES


class Screen:
    """Stages and the rollout's tree."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False, soft_wrap=True)
        self._began = time.monotonic()
        self._live: Live | None = None
        self._said = ""

    def say(self, text: str, style: str = "") -> None:
        """A line that stays, with the time since the start."""
        self._console.print(Text(f"{time.monotonic() - self._began:6.1f} s  {text}", style=style))

    @contextmanager
    def stage(self, title: str) -> Iterator[None]:
        """A part of the main job; its title stays on the screen with how long it took."""
        began = time.monotonic()
        self.say(f"▶ {title}", "bold")
        yield
        self.say(f"✔ {title} ({time.monotonic() - began:.1f} s)", "green")

    def show(self, snapshot: Snapshot) -> None:
        """The rollout as it is now."""
        status = snapshot.deployment.status
        said = f"{status.step or '–'}  weight {status.weight}  {status.verdict or '–'}  {status.message}"
        if self._live is not None:
            self._live.update(_coloured(tree.render(snapshot, time.time())), refresh=True)
        elif said != self._said:
            self.say(f"  {said}")
        self._said = said

    @contextmanager
    def following(self) -> Iterator[None]:
        """While a rollout is followed, a terminal shows its tree below the stages."""
        if not self._console.is_terminal:
            yield
            return
        with Live(console=self._console, auto_refresh=False, transient=True) as self._live:
            try:
                yield
            finally:
                self._live = None

    def print(self, text: str) -> None:
        """Plain text, as the summary needs it."""
        self._console.print(text, highlight=False, markup=False)


def _coloured(text: str) -> Text:
    coloured = Text(text)
    for symbol, style in STYLES.items():
        coloured.highlight_words([symbol], style)
    return coloured
