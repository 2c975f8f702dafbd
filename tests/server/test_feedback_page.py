"""What docs/feedback.md tells a reader to type works as printed, and its table of results names what there is."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from pilotage_server.feedback.results import Result
from support.serving import Keys, free_ports

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "feedback.md").read_text(encoding="utf-8")


def tutorial() -> str:
    """The blocks to type, in order; Python as a reader would paste it."""
    blocks = re.findall(r"```(sh|python)\n(.*?)```", PAGE, flags=re.DOTALL)
    return "\n".join(text if kind == "sh" else f"python <<'PASTED'\n{text}PASTED" for kind, text in blocks)


def test_the_tutorial_runs_as_printed(iris: Path, keys: Keys, tmp_path: Path) -> None:
    script = tutorial()
    for printed, here in (
        ('PATH="$PWD/.venv/bin:$PATH"', f'PATH="{Path(sys.executable).parent}:$PATH"'),
        ("BUNDLE=build/serving/iris/oci", f"BUNDLE={iris / 'oci'}"),
        ("TRUSTED=build/serving/trusted", f"TRUSTED={keys.public_dir}"),
        *zip(("8080", "8081", "8090", "8091"), map(str, free_ports(4)), strict=True),
    ):
        assert printed in script
        script = script.replace(printed, here)
    quick = {"PILOTAGE_SERVER_DRAIN_SECONDS": "0", "PILOTAGE_SERVER_LAST_SCRAPE_SECONDS": "0"}

    ran = subprocess.run(
        ["bash", "-e", "-m", "-c", f"trap 'kill -9 %1 %2 2>/dev/null || true' ERR\n{script}\nkill %1; wait"],
        cwd=tmp_path,
        env={**os.environ, **quick},
        capture_output=True,
        text=True,
        timeout=180,
    )

    assert ran.returncode == 0, ran.stderr
    assert '{"results":[{"result":"accepted"}]}' in ran.stdout
    assert "accepted: 149\nduplicate: 1\n" in ran.stdout
    assert 'actual="setosa"' in ran.stdout
    (quality,) = (json.loads(line) for line in ran.stdout.splitlines() if '"revisions":' in line)
    (counts,) = quality["revisions"].values()
    assert counts["countedRows"] == counts["loss"]["count"] == 150
    assert 0 < sum(map(sum, (row.values() for row in counts["audit"].values()))) < 150


def test_every_result_is_on_the_page_with_what_to_do() -> None:
    assert re.findall(r"^\| `(\w+)` \| .+ \| .+ \|$", PAGE.split("### A file of labels")[0], re.MULTILINE) == [
        result.value for result in sorted(Result, key=lambda one: PAGE.index(f"| `{one.value}` |"))
    ]
