"""Keys, bundles and one shared server for the tests of the model server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.serving import DIGITS, IRIS, Keys, Server, make_keys, running_server, train_config

POD = {
    "PILOTAGE_MODEL": "digits",
    "PILOTAGE_REVISION": "digits-0a1b2c3d4e",
    "PILOTAGE_CLUSTER": "aws",
    "DIGITS_COLLECTOR_SERVICE_HOST": "127.0.0.1",
    "DIGITS_COLLECTOR_SERVICE_PORT": "9",  # nobody listens: serving must not mind
}


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """The signer every bundle of these tests trusts."""
    return make_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="session")
def iris(tmp_path_factory: pytest.TempPathFactory, keys: Keys) -> Path:
    """Output of one training run on iris, signed."""
    out = tmp_path_factory.mktemp("iris") / "run"
    train_config(IRIS, out, keys)
    return out


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory, keys: Keys) -> Path:
    """Output of one training run on digits, signed, with held-back rows."""
    out = tmp_path_factory.mktemp("digits") / "run"
    train_config(DIGITS, out, keys)
    return out


@pytest.fixture(scope="session")
def feedback_keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one feedback key."""
    folder = tmp_path_factory.mktemp("feedback-keys")
    (folder / "k1").write_bytes(bytes(range(32)))
    return folder


@pytest.fixture(scope="session")
def digits_server(digits: Path, keys: Keys, feedback_keys: Path) -> Iterator[Server]:
    """A server of the digits model, as a pod would run it; tests only read from it."""
    trust = ("--bundle-key-dir", str(keys.public_dir), "--feedback-key-dir", str(feedback_keys))
    with running_server(digits / "oci", *trust, env=POD) as server:
        yield server
