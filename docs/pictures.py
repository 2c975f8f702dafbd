"""Draw the pictures of docs/gate.md with the commands that the page shows. Run from the repository's root:

    python docs/pictures.py

Takes a few minutes; the same version of the gate gives the same bytes. `--recording` draws docs/gate/counts.jsonl anew
first: two hours of a canary that misses too much spam in one of two clusters.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from random import Random

from pilotage.trials import Scenario, Setting, build, from_recalls, questions_of
from pilotage.trials.traffic import Stream

FOLDER = Path("docs/gate")
SPAM, TEST_SET, COUNTS = (str(FOLDER / name) for name in ("spam.yaml", "test-set.json", "counts.jsonl"))
PICTURES = {
    "errors.svg": ("simulate", SPAM, "--confusion", TEST_SET, "--runs", "60", "--looks", "24"),
    "chances.svg": ("plan", SPAM, "--confusion", TEST_SET, "--runs", "40", "--looks", "24"),
    "evidence.svg": ("replay", SPAM, COUNTS),
}
_FINE = (0, 1)
"""1: a bound is missed, a margin cannot be proved, a gate would have failed. The picture is drawn all the same."""


def main() -> None:
    """Draw them all."""
    if "--recording" in sys.argv:
        Path(COUNTS).write_text(
            "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in recorded()), encoding="utf-8"
        )
    for name, arguments in PICTURES.items():
        command = [str(Path(sys.executable).parent / "pilotage"), "gate", *arguments, "-o", "svg"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode not in _FINE:
            raise SystemExit(f"{name}: pilotage gate {arguments[0]} ended with {done.returncode}")
        (FOLDER / name).write_text(done.stdout, encoding="utf-8")


def recorded() -> list[dict[str, object]]:
    """A header and forty blocks: aws is fine, in gcp the canary misses twice as much spam as stable."""
    (question, *_) = questions = questions_of(
        {"gates": [{"name": "recall-of-spam", "metric": "recall", "class": "spam", "margin": 0.03}]}
    )
    setting = Setting(
        stable=from_recalls(("ham", "spam"), {"ham": 0.97, "spam": 0.9}),
        shares={"ham": 0.8, "spam": 0.2},
        clusters={"aws": 0.6, "gcp": 0.4},
        looks=40,
        duration_s=7200.0,
    )
    fine, broken = (
        Stream(build(setting, questions, question, Scenario(name="recorded", about="", off=off)), Random(7))  # noqa: S311 (seeded)
        for off in (0.0, 3.5)
    )
    lines: list[dict[str, object]] = [
        {"classes": ["ham", "spam"], "shares": setting.clusters, "history": fine.history()}
    ]
    for look in range(setting.looks):
        step = setting.step_of(look)
        both = {"aws": fine.cohort(look, step)["aws"], "gcp": broken.cohort(look, step)["gcp"]}
        lines.append({"at": setting.interval_s * (look + 1), "step": step, "clusters": both})
    return lines


if __name__ == "__main__":
    main()
