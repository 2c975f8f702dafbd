"""A server that must not serve ends at once, says why on its last line, and tells its pod."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from support.serving import SERVER, Keys, serve_command


def run(command: list[str], **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, timeout=30, check=False)


def test_a_tampered_bundle_in_a_pod_without_mounts(iris: Path, keys: Keys, tmp_path: Path) -> None:
    root = tmp_path / "pod"
    shutil.copytree(iris / "bundle", root / "pilotage" / "bundle")
    shutil.copytree(keys.public_dir, root / "pilotage" / "bundle-keys")
    (root / "dev").mkdir()
    (root / "dev" / "termination-log").touch()
    with (root / "pilotage" / "bundle" / "model.onnx").open("ab") as file:
        file.write(b"x")

    ended = run(
        serve_command(Path("/pilotage/bundle")),
        PILOTAGE_POD_ROOT=str(root),
        PILOTAGE_BUNDLE_KEY_DIR="/pilotage/bundle-keys",
    )

    assert ended.returncode == 1
    message = (root / "dev" / "termination-log").read_text()
    assert message.startswith("bundle refused: model.onnx: has ")
    assert ended.stderr.splitlines()[-1] == f"pilotage-server: {message}"
    assert "Traceback" not in ended.stderr
    assert "server.ready" not in ended.stderr


@pytest.mark.parametrize(
    ("flags", "env", "code", "message"),
    [
        ([], {}, 2, "--bundle-key-dir: is missing; name the folder with your signers' *.pub files"),
        (["--allow-unsigned", "--port", "http"], {}, 2, "--port: 'http' is not a whole number from 0 to 65535"),
        (
            ["--allow-unsigned"],
            {"PILOTAGE_SERVER_MAX_ROW": "9"},
            2,
            "PILOTAGE_SERVER_MAX_ROW: unknown setting; did you mean 'PILOTAGE_SERVER_MAX_ROWS'?",
        ),
        (
            ["--allow-unsigned", "--feedback-key-dir", "/nowhere"],
            {"PILOTAGE_CLUSTER": "aws"},
            1,
            "/nowhere: cannot read the feedback keys",
        ),
    ],
    ids=["no keys", "bad port", "unknown variable", "no feedback keys"],
)
def test_settings_and_keys(flags: list[str], env: dict[str, str], code: int, message: str, iris: Path) -> None:
    ended = run([str(SERVER), "serve", "--bundle", str(iris / "bundle"), *flags], **env)

    assert ended.returncode == code
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr


def test_credentials_whose_secret_is_missing_are_named_on_the_last_line(
    iris: Path, feedback_keys: Path, tmp_path: Path
) -> None:
    """The operator reads this line: its volume of the Secret is optional, so that a pod can say what it lacks."""
    command = serve_command(iris / "bundle", "--allow-unsigned", "--feedback-key-dir", str(feedback_keys))
    folder = tmp_path / "feedback-credentials"
    folder.mkdir()

    ended = run(command, PILOTAGE_CLUSTER="aws", PILOTAGE_FEEDBACK_CREDENTIALS_DIR=str(folder))

    assert ended.returncode == 2
    said = f"PILOTAGE_FEEDBACK_CREDENTIALS_DIR: {folder}: 0 tokens; give 1 to 20, one key of the Secret each"
    assert ended.stderr.splitlines()[-1] == f"pilotage-server: {said}"


def test_a_model_with_more_series_than_a_scrape_should_hold(iris: Path, feedback_keys: Path) -> None:
    command = serve_command(iris / "bundle", "--allow-unsigned", "--feedback-key-dir", str(feedback_keys))

    ended = run(command, PILOTAGE_CLUSTER="aws", PILOTAGE_SERVER_MAX_SERIES="100")

    assert ended.returncode == 2
    assert "this model would export" in ended.stderr.splitlines()[-1]
    assert "more than 100; raise PILOTAGE_SERVER_MAX_SERIES" in ended.stderr.splitlines()[-1]
