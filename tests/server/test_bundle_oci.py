"""A bundle travels as an OCI image: equal bundles have equal digests, and a damaged image is no bundle."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from pilotage_server.bundle import Refused, load, open_source, read_trusted_keys
from pilotage_server.bundle.oci import write_layout
from support.serving import Keys


def blob(layout: Path, digest: str) -> Path:
    return layout / "blobs" / "sha256" / digest.removeprefix("sha256:")


def test_equal_files_give_an_equal_digest(iris: Path, tmp_path: Path) -> None:
    copy = tmp_path / "bundle"
    shutil.copytree(iris / "bundle", copy, copy_function=shutil.copyfile)

    first = write_layout(iris / "bundle", tmp_path / "a", name="models/iris:v1")
    second = write_layout(copy, tmp_path / "b", name="models/iris:v1")

    assert first == second == json.loads((iris / "result.json").read_text())["digest"]


def test_a_changed_file_changes_the_digest(iris: Path, tmp_path: Path) -> None:
    copy = tmp_path / "bundle"
    shutil.copytree(iris / "bundle", copy)
    (copy / "model_card.md").write_text("nothing")

    assert write_layout(copy, tmp_path / "a", name="x") != write_layout(iris / "bundle", tmp_path / "b", name="x")


def test_folder_and_image_are_the_same_bundle(iris: Path, keys: Keys) -> None:
    trust = read_trusted_keys(keys.public_dir)
    digest = json.loads((iris / "result.json").read_text())["digest"]

    found = {load(open_source(iris / "bundle"), trust=trust).digest}
    found.add(load(open_source(iris / "oci"), trust=trust).digest)
    found.add(load(open_source(Path(f"{iris / 'oci'}@{digest}")), trust=trust).digest)

    assert len(found) == 1


def test_refuses_a_damaged_layer_and_a_missing_image(iris: Path, tmp_path: Path) -> None:
    layout = tmp_path / "oci"
    shutil.copytree(iris / "oci", layout)
    digest = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]
    layer = json.loads(blob(layout, digest).read_text())["layers"][0]["digest"]
    content = bytearray(blob(layout, layer).read_bytes())
    content[600] ^= 1
    blob(layout, layer).write_bytes(content)

    with pytest.raises(Refused, match=rf"{layer}: its content has another digest; load the image again"):
        open_source(layout)
    with pytest.raises(Refused, match=r"sha256:0{64}: is not in the layout"):
        open_source(Path(f"{layout}@sha256:{'0' * 64}"))


def test_asks_which_image_when_there_are_several(iris: Path, digits: Path, tmp_path: Path) -> None:
    layout = tmp_path / "oci"
    shutil.copytree(iris / "oci", layout)
    index = json.loads((layout / "index.json").read_text())
    index["manifests"] += json.loads((digits / "oci" / "index.json").read_text())["manifests"]
    (layout / "index.json").write_text(json.dumps(index))

    with pytest.raises(Refused, match=r"index\.json: lists 2 images; name one: --bundle LAYOUT@sha256:"):
        open_source(layout)


@pytest.mark.parametrize("written", [b"", b"\xff", b"[" * 100_000, b"[]", b'{"layers": [{"digest": 1}]}'])
def test_refuses_what_is_no_image_manifest(written: bytes, iris: Path, tmp_path: Path) -> None:
    layout = tmp_path / "oci"
    shutil.copytree(iris / "oci", layout)
    digest = f"sha256:{hashlib.sha256(written).hexdigest()}"
    blob(layout, digest).write_bytes(written)

    with pytest.raises(Refused, match=r"is no image manifest in JSON|has not exactly one layer|the layer is a None"):
        open_source(Path(f"{layout}@{digest}"))
    (layout / "index.json").write_bytes(b"[" * 100_000)
    with pytest.raises(Refused, match=r"index\.json: is missing or no OCI index"):
        open_source(layout)
