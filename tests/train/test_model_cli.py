"""`pilotage-model`: results on stdout, the rest on stderr, one exit code per meaning, no tracebacks."""

from __future__ import annotations

import json
import re
import stat
import subprocess
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from pilotage_server.train.cli import app
from support.serving import IRIS, TRAINER, Keys, a_config, train_config


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(TRAINER), *map(str, arguments)], capture_output=True, text=True, timeout=240, check=False
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, keys: Keys) -> Path:
    out = tmp_path_factory.mktemp("iris") / "run"
    train_config(IRIS, out, keys)
    return out


def test_keygen_keeps_the_private_key_private_and_overwrites_nothing(tmp_path: Path) -> None:
    first = run("keygen", "--out", tmp_path / "keys")
    second = run("keygen", "--out", tmp_path / "keys")

    private = tmp_path / "keys" / "bundle.key"
    assert first.stdout.splitlines() == [str(private), str(tmp_path / "keys" / "bundle.pub")]
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert (second.returncode, second.stdout) == (1, "")
    assert f"{private} exists; choose another --name" in second.stderr


def test_train_warns_about_what_no_cluster_would_take(tmp_path: Path) -> None:
    config = tmp_path / "iris.yaml"
    config.write_text(yaml.safe_dump(IRIS))

    ended = run("train", config, "--out", tmp_path / "run")

    assert ended.returncode == 0
    assert ended.stdout.startswith("pilotage.dev/models/iris@sha256:")
    assert "warning: not signed; clusters accept signed bundles only (--signing-key)" in ended.stderr


def test_a_bad_configuration_is_a_usage_error(tmp_path: Path) -> None:
    config = tmp_path / "iris.yaml"
    config.write_text(yaml.safe_dump(a_config(IRIS, splt={})))

    ended = run("train", config, "--out", tmp_path / "run")

    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == f"pilotage-model: {config}: splt: unknown key; did you mean 'split'?\n"


def test_verify_and_inspect(trained: Path, keys: Keys, tmp_path: Path) -> None:
    good = run("verify", trained / "oci", "--keys", keys.public_dir)
    shown = run("inspect", trained / "bundle")
    (tmp_path / "empty").mkdir()
    bad = run("verify", tmp_path / "empty", "--keys", keys.public_dir)

    assert good.returncode == 0
    assert good.stdout.endswith(": good, signed by release\n")
    assert json.loads(shown.stdout)["classes"] == ["setosa", "versicolor", "virginica"]
    assert (bad.returncode, bad.stdout) == (1, "")
    assert "bundle refused: manifest.json: is missing" in bad.stderr


COMMANDS = {command.name or "": command for command in app.registered_commands}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_teaches_by_example_and_names_its_exit_codes(name: str) -> None:
    callback = COMMANDS[name].callback
    text = " ".join((callback.__doc__ or "").split()) if callback else ""
    example = re.search(r"Example: pilotage-model (\S+) ([^>]*)", text)

    assert "Exit codes: 0" in text
    assert example
    assert example[1] == name
    shown = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "200"}).stdout
    for option in re.findall(r"--[a-z-]+", example[2]):
        assert f"{option} " in shown, option
