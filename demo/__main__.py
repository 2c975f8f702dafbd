"""`python -m demo`: the command line around the story."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from demo import story
from demo.screen import Screen
from demo.setup import ROOT, StepFailed
from localclouds import Clouds
from localclouds.errors import CloudsError
from pilotage.cli.errors import CommandFailed

FOLDER = ROOT / "build" / "demo"


def main() -> int:
    """Play the demo; exit 0 only if everything came out as it should."""
    parser = argparse.ArgumentParser(prog="python -m demo", description="Pilotage's main job on four local clouds.")
    parser.add_argument("--keep", action="store_true", help="leave the clouds running and say how to look around")
    parser.add_argument("--seed", type=int, default=1, help="seed of the traffic (default: 1)")
    arguments = parser.parse_args()
    began = time.monotonic()
    screen = Screen()
    FOLDER.mkdir(parents=True, exist_ok=True)
    try:
        with screen.stage("Four clouds come up: hub, aws, gcp, azure"):
            clouds = Clouds(ROOT / "build" / "clouds" if arguments.keep else FOLDER / "clouds").start()
        try:
            good = story.tell(clouds, screen, FOLDER, arguments.seed)
        finally:
            if arguments.keep:
                clouds.detach()
                screen.print(how_to_look_around(clouds))
            else:
                clouds.stop()
    except (StepFailed, CloudsError, CommandFailed) as error:
        screen.say(f"✖ {error}", "red")
        return 1
    except KeyboardInterrupt:
        screen.say("interrupted; everything has been stopped", "yellow")
        return 130
    screen.say(f"{'Done' if good else 'Not as it should be'} after {time.monotonic() - began:.0f} s", "bold")
    return 0 if good else 1


def how_to_look_around(clouds: Clouds) -> str:
    """What a person can do with clouds that were left running."""
    kubeconfig = _short(clouds.kubeconfig)
    members = [name for name in clouds if name != "hub"]
    return "\n".join(
        [
            "",
            "The clouds are still running. Look around:",
            f"  export KUBECONFIG={kubeconfig}            # contexts: {', '.join(clouds)}",
            "  export PATH=$PWD/.venv/bin:$PATH",
            "  kubectl --context hub get mdep,mrev,mcl -n models",
            "  pilotage get digits --context hub -n models --watch",
            f"  kubectl --context {members[0]} get all -n models",
            *(f"  Prometheus of {name}: {clouds[name].prometheus_url}" for name in clouds),
            "Stop them with: make clouds-down",
            "",
        ]
    )


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


if __name__ == "__main__":
    sys.exit(main())
