"""From predictions to a successor, as examples/retrain-cronjob.yaml runs it: ask, log, label, retrain, push."""

from __future__ import annotations

import csv
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import numpy as np
import pytest
import yaml

from pilotage_server.bundle import load, open_source, read_trusted_keys
from support.registry import a_registry
from support.serving import TRAINER, Keys, running_server, train_config
from support.tables import write_csv

ROOT = Path(__file__).parents[2]
CRONJOB: dict[str, Any] = yaml.safe_load((ROOT / "examples" / "retrain-cronjob.yaml").read_text(encoding="utf-8"))
POD: dict[str, Any] = CRONJOB["spec"]["jobTemplate"]["spec"]["template"]["spec"]
DOCKERFILE = (ROOT / "model_server" / "Dockerfile").read_text(encoding="utf-8")


def test_the_cronjob_is_valid_and_asks_for_no_rights() -> None:
    kubernetes_validate.validate(CRONJOB, "1.36", strict=True)

    (container,) = POD["containers"]
    assert "serviceAccountName" not in POD
    assert POD["automountServiceAccountToken"] is False
    assert POD["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in POD["volumes"]}


def test_the_image_is_one_the_dockerfile_builds() -> None:
    assert POD["containers"][0]["image"] == "pilotage.dev/trainer:dev"
    assert "-t pilotage.dev/trainer:dev --target trainer ." in DOCKERFILE
    stages = re.findall(r"^FROM .* AS (\S+)$", DOCKERFILE, flags=re.MULTILINE)
    assert stages == ["build", "trainer-build", "trainer", "server"], "the server stays what is built without --target"
    assert re.findall(r"^ENTRYPOINT (.*)$", DOCKERFILE, flags=re.MULTILINE) == [
        '["pilotage-model"]',
        '["pilotage-server"]',
    ]


def test_every_file_the_dockerfile_copies_exists_and_requirements_are_pinned_by_hash() -> None:
    copied = [
        name
        for line in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, flags=re.MULTILINE)
        for name in line.split()
    ]

    assert copied == ["requirements/server.txt", "requirements/train.txt", "model_server/src/pilotage_server"]
    for name in copied:
        assert (ROOT / name).exists(), name
    for name in copied[:2]:
        text = (ROOT / name).read_text(encoding="utf-8")
        pins = re.findall(
            r"^([a-z0-9][\w.-]*)==\S+(?: ;.*)? \\\n    --hash=sha256:[0-9a-f]{64}", text, flags=re.MULTILINE
        )
        assert len(pins) == len(re.findall(r"^[a-z0-9]", text, flags=re.MULTILINE)), f"{name}: a line without a hash"
    installs = re.findall(r"pip install (.*?)(?:\\|;|&|$)", DOCKERFILE, flags=re.MULTILINE)
    assert len(installs) == 3
    assert all("--require-hashes --only-binary :all:" in line for line in installs)


def the_world(seed: int, changed: bool) -> tuple[np.ndarray[Any, Any], list[str]]:
    """Rows of two numbers with their truth; when the world has changed, the other number decides."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(400, 2)).round(4)
    score = rows[:, int(changed)] + rng.normal(0, 0.3, len(rows))
    return rows, ["round" if value > 0 else "square" for value in score]


@pytest.fixture
def volumes(tmp_path: Path, keys: Keys) -> dict[str, Path]:
    """The Job's mounts: a champion in service, its configuration, and empty claims."""
    found = {mount["mountPath"]: tmp_path / mount["name"] for mount in POD["containers"][0]["volumeMounts"]}
    for folder in found.values():
        folder.mkdir()
    rows, truth = the_world(1, changed=False)
    write_csv(tmp_path / "config" / "shapes.csv", {"x": rows[:, 0], "y": rows[:, 1], "kind": truth})
    config = {
        "name": "digits",
        "data": {"csv": {"path": "shapes.csv", "target": "kind"}},
        "model": {"estimator": "logistic-regression"},
    }
    (tmp_path / "config" / "digits.yaml").write_text(yaml.safe_dump(config))
    train_config(config, tmp_path / "config" / "run", keys)
    found["/champion"].rmdir()
    (tmp_path / "config" / "run" / "bundle").rename(found["/champion"])
    (found["/signing"] / "bundle.key").write_bytes(keys.private.read_bytes())
    return found


def ask_and_label(volumes: dict[str, Path], trust: Path, key_dir: Path) -> None:
    """Clients ask a server with a payload log; later somebody writes down what was true."""
    (volumes["/feedback"] / "payloads").mkdir()
    (key_dir / "k1").write_bytes(bytes(range(32)))
    flags = ["--bundle-key-dir", str(trust), "--feedback-key-dir", str(key_dir), "--drain-seconds=0"]
    flags += ["--payload-log", str(volumes["/feedback"] / "payloads")]
    env = {"PILOTAGE_CLUSTER": "aws", "POD_NAME": "digits-abc", "PILOTAGE_SERVER_LAST_SCRAPE_SECONDS": "0"}
    rows, truth = the_world(2, changed=True)
    with (
        running_server(volumes["/champion"], *flags, env=env) as server,
        (volumes["/feedback"] / "labels.csv").open("w", newline="") as file,
    ):
        labels = csv.writer(file)
        labels.writerow(["token", "row", "label"])
        for i in range(0, len(rows), 4):
            tensor = {"name": "x", "datatype": "FP64", "shape": [4, 2], "data": rows[i : i + 4].tolist()}
            answer = server.request("POST", "/v2/models/digits/infer", {"inputs": [tensor]})
            token = answer.body["parameters"]["feedback_token"]
            labels.writerows([token, row, truth[i + row]] for row in range(4))
        server.terminate()
        assert server.process.wait(20) == 0


def test_the_cronjobs_command_makes_a_successor_of_what_was_asked_and_labelled(
    volumes: dict[str, Path], keys: Keys, tmp_path: Path
) -> None:
    (tmp_path / "feedback-keys").mkdir()
    ask_and_label(volumes, keys.public_dir, tmp_path / "feedback-keys")

    with a_registry() as registry:
        command = " ".join(POD["containers"][0]["args"]).replace("registry.example.com", registry.address)
        mounts = re.compile(rf"(?<![\w.])({'|'.join(volumes)})(?=[/ ])")
        command = mounts.sub(lambda found: str(volumes[found[1]]), command)
        ended = subprocess.run(
            [str(TRAINER), *command.split()],
            env={**os.environ, "PILOTAGE_REGISTRY_USER": "pusher", "PILOTAGE_REGISTRY_PASSWORD": "secret"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout.startswith(f"{registry.address}/models/digits:candidate@sha256:")
        assert "candidate" in registry.manifests

    assert "quality: accuracy" in ended.stderr
    assert "later rows" in ended.stderr
    successor = load(open_source(volumes["/out"] / "digits" / "oci"), trust=read_trusted_keys(keys.public_dir))
    assert successor.manifest.data["rows"] > 400
    assert ended.stdout.strip().endswith(successor_digest(volumes["/out"] / "digits"))


def successor_digest(run: Path) -> str:
    return str(yaml.safe_load((run / "result.json").read_text(encoding="utf-8"))["digest"])
