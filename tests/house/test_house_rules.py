"""Rules of the house that no linter knows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = [ROOT / project / "src" for project in ("operator", "model_server", "localclouds")]


def test_no_project_folder_shadows_a_module_of_the_standard_library():
    assert not [path for path in ("operator", "model_server", "localclouds") if (ROOT / path / "__init__.py").exists()]
    subprocess.run([sys.executable, "-c", "import functools, operator; operator.eq"], cwd=ROOT, check=True)


def test_no_module_grows_beyond_four_hundred_lines():
    lengths = {path: len(path.read_text().splitlines()) for source in SOURCES for path in source.rglob("*.py")}

    assert {str(path.relative_to(ROOT)): lines for path, lines in lengths.items() if lines > 400} == {}


def test_every_module_says_what_it_is_for():
    silent = [path for source in SOURCES for path in source.rglob("*.py") if not path.read_text().startswith('"""')]

    assert silent == []


def test_no_module_hides_behind_a_name_that_says_nothing():
    vague = {"utils", "util", "helpers", "helper", "manager", "common", "misc", "base"}

    assert [path for source in SOURCES for path in source.rglob("*.py") if path.stem in vague] == []
