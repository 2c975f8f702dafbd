"""What docs/training.md tells a reader to type works as printed, and it names every key, estimator and check."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from pilotage_server.train.config.read_data import CHECKS
from pilotage_server.train.config.read_model import METRICS
from pilotage_server.train.models.catalogue import PARAMETERS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")


def test_the_tutorial_runs_as_printed(tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    script = "\n".join(re.findall(r"```sh\n(.*?)```", PAGE, flags=re.DOTALL))
    script = script.replace("$PWD/.venv/bin", str(Path(sys.executable).parent))

    ran = subprocess.run(
        ["bash", "-e", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False
    )

    assert ran.returncode == 0, ran.stderr
    result = json.loads((tmp_path / "build" / "training" / "cancer" / "result.json").read_text())
    assert f"{result['reference']}\n" in ran.stdout
    assert f"bundle: {result['reference']}" in ran.stdout
    assert "{name: recall-of-malignant, metric: recall, class: malignant, floor: 0." in ran.stdout
    assert "# At 400 labels a day: about" in ran.stdout
    assert "calling fraud fine is the dearest mistake (50)" in ran.stderr
    assert (tmp_path / "build" / "training" / "cancer" / "report.html").is_file()
    successor = json.loads((tmp_path / "build" / "training" / "fruit" / "next" / "result.json").read_text())
    assert ran.stdout.endswith(f"{successor['reference']}\n")
    assert successor["retraining"]["improvement"]["low"] > 0
    assert "quality: accuracy" in ran.stderr


def test_every_estimator_metric_and_check_is_on_the_page() -> None:
    for name in (*PARAMETERS, *METRICS, *CHECKS):
        assert f"`{name}`" in PAGE, name
