"""A long run says where it is; an interrupted one leaves the folder as it was."""

from __future__ import annotations

import io
import os
import signal
import subprocess
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from pilotage_server.train.cli import app
from pilotage_server.train.deploy.write import staged
from pilotage_server.train.progress import Told
from support.polling import eventually
from support.serving import IRIS, TRAINER, a_config


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    """Moves by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def a_run(stream: io.StringIO) -> None:
    """Ten steps of a second each."""
    clock = Clock()
    told = Told(stream, clock)
    told.begin("comparing 2 ways on 5 folds", 10)
    for _ in range(10):
        clock.now += 1.5
        told.step()
    told.close()


def test_off_a_terminal_a_line_now_and_then() -> None:
    stream = io.StringIO()

    a_run(stream)

    assert stream.getvalue().splitlines() == [
        "comparing 2 ways on 5 folds: 2 of 10, about 0:12 left",
        "comparing 2 ways on 5 folds: 9 of 10, about 0:02 left",
    ]


def test_on_a_terminal_one_line_that_moves_and_is_gone_in_the_end() -> None:
    stream = Terminal()

    a_run(stream)

    lines = stream.getvalue().split("\r")
    assert lines[1] == "comparing 2 ways on 5 folds: 2 of 10, about 0:12 left"
    assert "\n" not in stream.getvalue()
    assert lines[-2:] == [" " * len(lines[-2]), ""]


def test_a_short_run_says_nothing() -> None:
    stream, clock = Terminal(), Clock()
    told = Told(stream, clock)

    told.begin("reading rows")
    clock.now = 1.9
    told.begin("checking rows")
    told.close()

    assert stream.getvalue() == ""


def _write_half(out: Path) -> None:
    with staged(out) as folder:
        (folder / "model_card.md").write_text("half")
        raise KeyboardInterrupt


def test_what_is_not_whole_never_takes_the_place_of_what_was(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "result.json").write_text("the earlier run")

    with pytest.raises(KeyboardInterrupt):
        _write_half(out)

    assert [path.name for path in out.iterdir()] == ["result.json"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_configuration_that_fails_late_leaves_the_earlier_run(tmp_path: Path) -> None:
    (tmp_path / "it.yaml").write_text(yaml.safe_dump(IRIS))
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump(a_config(IRIS, model={"estimator": "svm", "params": {"C": -1}})))
    arguments = ["--out", str(tmp_path / "out")]
    CliRunner().invoke(app, ["train", str(tmp_path / "it.yaml"), *arguments])
    before = (tmp_path / "out" / "result.json").read_bytes()

    ended = CliRunner().invoke(app, ["train", str(tmp_path / "bad.yaml"), *arguments])

    assert ended.exit_code == 2
    assert (tmp_path / "out" / "result.json").read_bytes() == before


def test_a_run_asked_to_end_writes_nothing_and_says_so(tmp_path: Path) -> None:
    """SIGTERM takes the way of Ctrl-C."""
    slow = {"name": "forest", "estimator": "random-forest", "params": {"n_estimators": 2_000}}
    candidates = [slow, {"name": "bayes", "estimator": "naive-bayes"}]
    config = {"name": "slow", "data": {"dataset": "digits"}, "candidates": candidates}
    (tmp_path / "slow.yaml").write_text(yaml.safe_dump(config))
    running = subprocess.Popen(
        [str(TRAINER), "train", str(tmp_path / "slow.yaml"), "--out", str(tmp_path / "out")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    eventually(lambda: any(tmp_path.glob(".out-*")), within_s=60)

    os.kill(running.pid, signal.SIGTERM)
    stdout, stderr = running.communicate(timeout=60)

    assert (running.returncode, stdout) == (130, "")
    assert stderr.splitlines()[-1] == "pilotage-model: interrupted; nothing was written"
    assert "Traceback" not in stderr
    assert [path.name for path in tmp_path.iterdir()] == ["slow.yaml"]
