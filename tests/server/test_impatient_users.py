"""What people type first and wrongly: each mistake is told with a remedy and the documented exit code."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pilotage_server import __version__
from pilotage_server.serve import SettingsRefused, read_settings
from pilotage_server.train.cli import app
from support.serving import SERVER

LABELS = "token,row,label\nabc,0,setosa\n"


@pytest.fixture(scope="module")
def run(iris: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("typed") / "run"
    shutil.copytree(iris, folder)
    subprocess.run(["tar", "cf", str(folder.parent / "oci.tar"), "-C", str(folder / "oci"), "."], check=True)
    broken = folder.parent / "broken"
    broken.mkdir()
    (broken / "result.json").write_text('{"metrics": 1}')
    (folder.parent / "labels.csv").write_text(LABELS)
    return folder


@pytest.mark.parametrize(
    ("typed", "code", "told"),
    [
        ("verify RUN", 1, "is the folder of a training run; name its bundle/ or its oci/"),
        ("verify HERE/oci.tar", 1, "is a file; name the folder, or the OCI layout, that it was packed from"),
        ("verify RUN/oci --keys HERE/labels.csv", 1, "is a file; name the folder that holds your signers' *.pub files"),
        ("inspect r.example.com/iris:1", 1, "is not here; a bundle in a registry comes with pilotage-model pull"),
        ("push RUN/bundle localhost:1/iris:1", 1, "is no OCI layout; name the oci/ folder"),
        ("push HERE/nothing localhost:1/iris:1", 1, "is no OCI layout; name the oci/ folder"),
        ("sign RUN --signing-key HERE/nothing", 2, "cannot be read (No such file or directory); make a key with"),
        ("export RUN/oci --to HERE/nothing/x.onnx", 2, "cannot be written (No such file or directory)"),
        ("report HERE/broken", 2, "result.json is not as this version writes it"),
        ("report RUN --out HERE/labels.csv", 2, "labels.csv: cannot be written (File exists)"),
        ("feedback HERE/no.csv --server http://127.0.0.1:1", 2, "no.csv: No such file or directory"),
        ("feedback HERE/labels.csv --server 127.0.0.1:1", 2, "write http:// or https:// with host and port"),
        ("feedback HERE/labels.csv --server http://127.0.0.1:1", 6, "127.0.0.1:1: cannot be reached"),
    ],
)
def test_a_command_says_what_to_do(typed: str, code: int, told: str, run: Path) -> None:
    words = [word.replace("RUN", str(run)).replace("HERE", str(run.parent)) for word in typed.split()]

    ended = CliRunner().invoke(app, words)

    assert told in ended.stderr
    assert ended.exit_code == code
    assert ended.exception is None or isinstance(ended.exception, SystemExit)


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield int(listening.getsockname()[1])


def started(*words: str) -> subprocess.CompletedProcess[str]:
    command = [str(SERVER), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize("option", ["--port", "--admin-port", "--grpc-port"])
def test_a_port_that_is_taken_is_named(option: str, iris: Path, taken: int) -> None:
    ports = {"--port": "0", "--admin-port": "0", option: str(taken)}
    words = [word for pair in ports.items() for word in pair]

    ended = started("serve", "--bundle", str(iris / "bundle"), "--allow-unsigned", *words)

    told = f"{option}: 127.0.0.1 port {taken} cannot be opened (Address already in use); choose another"
    assert (ended.returncode, ended.stderr.splitlines()[-1]) == (2, f"pilotage-server: {told}")


def test_a_host_that_is_none_is_named(iris: Path) -> None:
    ports = ("--port", "0", "--admin-port", "0")

    ended = started("serve", "--bundle", str(iris / "bundle"), "--allow-unsigned", "--host", "256.1.1.1", *ports)

    assert ended.returncode == 2
    assert "pilotage-server: --host: '256.1.1.1' is no address of this machine" in ended.stderr


def test_a_collector_refuses_a_port_that_is_none_and_names_one_that_is_taken(tmp_path: Path, taken: int) -> None:
    collector = {"model": "iris", "namespace": "here", "cluster": "here", "labelDelaySeconds": 15}
    (tmp_path / "collector.json").write_text(json.dumps(collector))
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "k1").write_bytes(bytes(32))
    words = ["collect", "--config", "collector.json", "--data", "data", "--key-dir", "keys", "--admin-port", "0"]
    words = [str(tmp_path / word) if word in ("collector.json", "data", "keys") else word for word in words]

    beyond, occupied = started(*words, "--port", "70000"), started(*words, "--port", str(taken))

    assert beyond.returncode == 2
    assert "'70000' is not a whole number from 0 to 65535" in beyond.stderr
    assert occupied.returncode == 1
    assert f"--port: 127.0.0.1 port {taken} cannot be opened (Address already in use)" in occupied.stderr


def test_says_its_version() -> None:
    assert started("--version").stdout == f"pilotage-server {__version__}\n"
    assert CliRunner().invoke(app, ["--version"]).stdout == f"pilotage-model {__version__}\n"


def test_two_faces_of_a_server_need_two_ports() -> None:
    with pytest.raises(SettingsRefused, match=r"^--admin-port: 9000 is the port of --port too; choose another$"):
        read_settings({"BUNDLE": "/b", "ALLOW_UNSIGNED": "true", "PORT": "9000", "ADMIN_PORT": "9000"}, {})


def test_free_ports_may_be_asked_for_twice() -> None:
    settings = read_settings({"BUNDLE": "/b", "ALLOW_UNSIGNED": "true", "PORT": "0", "ADMIN_PORT": "0"}, {})

    assert (settings.port, settings.admin_port) == (0, 0)


@pytest.mark.parametrize("name", ["a b", "a/b", "a: b", "-a", "ü", "x" * 254])
def test_a_model_is_named_so_that_it_fits_into_an_address(name: str) -> None:
    with pytest.raises(SettingsRefused, match=r"^PILOTAGE_MODEL: .* is no name; use letters, digits"):
        read_settings({"BUNDLE": "/b", "ALLOW_UNSIGNED": "true"}, {"PILOTAGE_MODEL": name})
