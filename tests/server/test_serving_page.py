"""What docs/serving.md tells a reader to type works as printed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pilotage_server.serve.errors import Reason
from support.serving import free_ports

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")


def blocks_of(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the page's commands run: examples beside, ports of their own, and nothing left running."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    return tmp_path


def test_the_tutorial_runs_as_printed(folder: Path) -> None:
    here = f'PATH="{Path(sys.executable).parent}:$PATH"'
    script = "\n".join(blocks_of("sh")).replace('PATH="$PWD/.venv/bin:$PATH"', here)
    for printed, free in zip(("8080", "8081", "8180", "8181"), free_ports(4), strict=True):
        script = script.replace(printed, str(free))
    quick = {**os.environ, "PILOTAGE_SERVER_DRAIN_SECONDS": "0", "PILOTAGE_SERVER_LAST_SCRAPE_SECONDS": "0"}

    ran = subprocess.run(
        ["bash", "-e", "-m", "-c", f"trap 'kill -9 $(jobs -p) 2>/dev/null || true' ERR\n{script}\nwait"],
        cwd=folder,
        env=quick,
        capture_output=True,
        text=True,
        timeout=120,
    )

    said = ran.stdout
    assert ran.returncode == 0, ran.stderr
    assert "good, signed by bundle" in said
    assert '"name":"predict","datatype":"BYTES","shape":[1],"data":["setosa"]' in said
    assert '"feedback_token":"' in said
    assert '"name":"contributions"' in said
    assert '"name":"predict","datatype":"BYTES","shape":[2],"data":["class_0","class_1"]' in said
    assert '{"predictions":["class_1"]}' in said
    for mistake in blocks_of("json"):
        assert mistake.strip() in said
        assert json.loads(mistake)


def test_every_reason_of_a_refusal_is_on_the_page() -> None:
    row = next(line for line in PAGE.splitlines() if line.startswith("| `model_rejected_total"))

    assert all(reason.value in row for reason in Reason)
