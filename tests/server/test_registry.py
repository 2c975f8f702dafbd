"""A pushed bundle comes back byte for byte, or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pilotage_server.bundle import AnySigner, Refused, load, open_source
from pilotage_server.bundle.registry import Reference, Registry, find_login
from pilotage_server.bundle.transfer import pull, push
from support.registry import RegistryState, a_registry


@pytest.fixture
def registry() -> Iterator[RegistryState]:
    with a_registry() as state:
        yield state


def at(state: RegistryState, suffix: str = ":2.1.0") -> tuple[Reference, Registry]:
    reference = Reference.parse(f"{state.address}/models/digits{suffix}")
    return reference, Registry(reference, login=("pusher", "secret"))


def unheard(digest: str, size: int, moved: bool) -> None: ...


def test_a_bundle_travels_unchanged_and_keeps_its_digest(registry: RegistryState, iris: Path, tmp_path: Path) -> None:
    pinned = push(iris / "oci", *at(registry), unheard)
    digest = pinned.rpartition("@")[2]

    again = pull(*at(registry, f"@{digest}"), tmp_path, unheard)

    assert pinned == f"{registry.address}/models/digits:2.1.0@{digest}"
    assert digest == json.loads((iris / "oci" / "index.json").read_text())["manifests"][0]["digest"]
    assert again == f"{registry.address}/models/digits@{digest}"
    assert load(open_source(tmp_path), trust=AnySigner()).manifest.name == "iris"


def test_what_the_registry_has_is_not_sent_again(registry: RegistryState, iris: Path) -> None:
    told: list[bool] = []
    push(iris / "oci", *at(registry), unheard)

    push(iris / "oci", *at(registry, ":stable"), lambda digest, size, moved: told.append(moved))

    assert told == [False, False]
    assert set(registry.manifests) > {"2.1.0", "stable"}


def test_the_manifest_goes_last(registry: RegistryState, iris: Path) -> None:
    push(iris / "oci", *at(registry), unheard)

    writes = [line for line in registry.requests if line.startswith("PUT")]
    assert "/manifests/" in writes[-1]
    assert not any("/manifests/" in line for line in writes[:-1])


@pytest.mark.parametrize("kind", ["blobs", "manifests"])
def test_content_that_was_changed_is_refused(registry: RegistryState, iris: Path, tmp_path: Path, kind: str) -> None:
    digest = push(iris / "oci", *at(registry), unheard).rpartition("@")[2]
    held = registry.blobs if kind == "blobs" else registry.manifests
    name = digest if kind == "manifests" else max(held, key=lambda found: len(held[found]))
    held[name] = held[name][:-1] + b" "

    with pytest.raises(Refused, match="the registry sent other content under this digest"):
        pull(*at(registry, f"@{digest}"), tmp_path, unheard)

    assert not (tmp_path / "index.json").exists()


def test_missing_images_logins_and_hosts_are_told_apart(registry: RegistryState, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"answered 404 \(MANIFEST_UNKNOWN: none\); check repository and tag"):
        pull(*at(registry), tmp_path, unheard)
    stranger = Reference.parse(f"{registry.address}/models/digits:1")
    with pytest.raises(Refused, match="asks for a login; log in with docker or podman"):
        pull(stranger, Registry(stranger), tmp_path, unheard)
    nowhere = Reference.parse("127.0.0.1:9/models/digits:1")
    with pytest.raises(Refused, match="cannot be reached"):
        pull(nowhere, Registry(nowhere), tmp_path, unheard)


@pytest.mark.parametrize(
    "text", ["digits", "digits:1", "Registry/x y", "host.example/UPPER:1", "h.example/a@sha256:12"]
)
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="is no image reference; write host/repository:tag"):
        Reference.parse(text)


def test_the_login_is_what_docker_wrote_down_unless_the_environment_says_otherwise(tmp_path: Path) -> None:
    written = {"auths": {"registry.example.com": {"auth": "dXNlcjpwYXNz"}}}
    (tmp_path / "config.json").write_text(json.dumps(written))
    env = {"DOCKER_CONFIG": str(tmp_path), "HOME": str(tmp_path)}

    assert find_login("registry.example.com", env) == ("user", "pass")
    assert find_login("other.example.com", env) is None
    assert find_login("other.example.com", {**env, "PILOTAGE_REGISTRY_USER": "ci"}) == ("ci", "")
