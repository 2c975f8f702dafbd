"""Golden stories: what the planner decided in a scenario, as text, beside the test that tells it.

`PILOTAGE_WRITE_STORIES=1 pytest tests/plan` writes them anew; then read the difference before you commit it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from support.builders import DeploymentBuilder, a_deployment
from support.world import World

TWO_WAVES = a_deployment().with_waves(first=["aws"], rest=None)
STORIES = Path(__file__).resolve().parents[1] / "plan" / "traces"


def told(world: World, name: str) -> None:
    """The world's story is the one on file."""
    path = STORIES / f"{name}.txt"
    story = str(world.trace)
    if os.environ.get("PILOTAGE_WRITE_STORIES"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(story)
    assert path.exists(), f"{path} is missing; PILOTAGE_WRITE_STORIES=1 writes it"
    assert story == path.read_text(), f"another story than {path.name}; PILOTAGE_WRITE_STORIES=1 shows it as a diff"


def a_world_with_v1_stable(*clusters: str, deployment: DeploymentBuilder = TWO_WAVES) -> World:
    """v1 has been serving for an hour."""
    world = World(*clusters)
    world.apply(deployment)
    world.run_until(lambda: world.condition("Promoted") == "True")
    world.run(3600)
    return world


def is_promoted(world: World, tag: str) -> Callable[[], bool]:
    """This model is stable, and its rollout over."""
    return lambda: world.status.stable_revision == world.name_of(tag) and world.condition("Promoted") == "True"
