"""The store of OCI artifacts: what is loaded is what it says, and unpacking stays inside."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import threading
from pathlib import Path

import pytest

from localclouds.images import LayoutProblem, MissingArtifact, load, resolve, unpack
from support.oci import a_layer, a_layout


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("compress", [False, True], ids=["tar", "gzip"])
def test_an_artifact_is_loaded_resolved_and_unpacked(tmp_path: Path, compress: bool) -> None:
    files = {"manifest.json": b"{}", "deep/model.onnx": b"weights"}
    layout, digest = a_layout(tmp_path, files, compress=compress)
    store = tmp_path / "store"

    assert load(layout, store) == load(layout, store) == (digest,)

    manifest = resolve(store, f"example.com/digits:1@{digest}")
    assert files_of(unpack(store, manifest, tmp_path / "cache")) == files
    assert len(json.loads((store / "index.json").read_text())["manifests"]) == 1


def test_artifacts_of_two_layouts_live_side_by_side(tmp_path: Path) -> None:
    store = tmp_path / "store"
    digests = []
    for name in ("a", "b"):
        layout, digest = a_layout(tmp_path / name, {"name": name.encode()})
        digests.append(digest)
        load(layout, store)
    for name, digest in zip("ab", digests, strict=True):
        folder = unpack(store, resolve(store, f"x@{digest}"), tmp_path / "cache")
        assert files_of(folder) == {"name": name.encode()}


def test_upper_layers_replace_and_remove_files_of_lower_ones(tmp_path: Path) -> None:
    layout, digest = a_layout(
        tmp_path,
        {"a": b"1", "b": b"1", "dir/c": b"1", "dir/d": b"1"},
        {"a": b"2", ".wh.b": b"", "dir/.wh..wh..opq": b"", "dir/e": b"2"},
    )
    manifest = resolve(layout, f"x@{digest}")
    assert files_of(unpack(layout, manifest, tmp_path / "cache")) == {"a": b"2", "dir/e": b"2"}


def test_a_missing_artifact_names_the_remedy(tmp_path: Path) -> None:
    digest = "sha256:" + "0" * 64
    with pytest.raises(MissingArtifact, match=f"{digest}: not in the store; 'localclouds load DIR'"):
        resolve(tmp_path, f"x@{digest}")
    with pytest.raises(MissingArtifact):
        resolve(tmp_path, "digits:1")


def test_a_changed_blob_is_never_used(tmp_path: Path) -> None:
    layout, digest = a_layout(tmp_path, {"model": b"weights"})
    path = layout / "blobs/sha256" / digest.removeprefix("sha256:")
    layer = json.loads(path.read_text())["layers"][0]["digest"].removeprefix("sha256:")
    manifest = resolve(layout, f"x@{digest}")
    (layout / "blobs/sha256" / layer).write_bytes(a_layer({"model": b"forged"}))

    with pytest.raises(LayoutProblem, match="the blob has digest sha256:"):
        unpack(layout, manifest, tmp_path / "cache")
    with pytest.raises(LayoutProblem, match="the blob has digest sha256:"):
        load(layout, tmp_path / "store")
    assert not list((tmp_path / "cache").iterdir())

    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(LayoutProblem, match="the blob has digest sha256:"):
        resolve(layout, f"x@{digest}")


def a_tar(*members: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(b"x" * member.size))
    return buffer.getvalue()


def a_member(name: str, **fields: object) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(member, field, value)
    return member


@pytest.mark.parametrize(
    "layer",
    [
        a_tar(a_member("../outside", size=1)),
        a_tar(a_member("link", type=tarfile.SYMTYPE, linkname="../../etc"), a_member("link/x", size=1)),
        a_tar(a_member("link", type=tarfile.SYMTYPE, linkname="/etc/passwd")),
        a_tar(a_member("hard", type=tarfile.LNKTYPE, linkname="../../etc/passwd")),
        a_tar(a_member("device", type=tarfile.CHRTYPE)),
        a_tar(a_member("../.wh.victim")),
        a_tar(a_member(".wh...")),
        b"this is no tar at all" * 100,
    ],
    ids=["parent", "through a link", "absolute link", "hard link", "device", "whiteout", "whiteout of ..", "no tar"],
)
def test_layers_that_would_leave_their_folder_are_refused(tmp_path: Path, layer: bytes) -> None:
    layout, digest = a_layout(tmp_path, layer)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "victim").write_text("here")
    with pytest.raises(LayoutProblem):
        unpack(layout, resolve(layout, f"x@{digest}"), tmp_path / "cache")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["victim"]
    assert not (tmp_path / "outside").exists()


def test_absolute_names_land_inside(tmp_path: Path) -> None:
    layout, digest = a_layout(tmp_path, a_tar(a_member("/absolute", size=1)))
    folder = unpack(layout, resolve(layout, f"x@{digest}"), tmp_path / "cache")
    assert files_of(folder) == {"absolute": b"x"}


def test_an_artifact_of_another_kind_is_refused(tmp_path: Path) -> None:
    layout, digest = a_layout(tmp_path, {"a": b"1"})
    path = layout / "blobs/sha256" / digest.removeprefix("sha256:")
    document = json.loads(path.read_text())
    document["layers"][0]["mediaType"] = "application/vnd.oci.image.layer.v1.tar+zstd"
    raw = json.dumps(document).encode()
    other = hashlib.sha256(raw).hexdigest()
    (layout / "blobs/sha256" / other).write_bytes(raw)
    with pytest.raises(LayoutProblem, match=r"write tar or tar\+gzip layers"):
        unpack(layout, resolve(layout, f"x@sha256:{other}"), tmp_path / "cache")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"manifests": [1]}', '{"manifests": []}'])
def test_a_folder_that_is_no_layout_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "index.json").write_text(text)
    with pytest.raises(LayoutProblem, match=r"index\.json|descriptors|artifact"):
        load(tmp_path, tmp_path / "store")


def test_unpacking_at_the_same_time_gives_one_folder(tmp_path: Path) -> None:
    layout, digest = a_layout(tmp_path, {str(number): b"x" for number in range(200)})
    manifest = resolve(layout, f"x@{digest}")
    found: list[Path] = []
    threads = [
        threading.Thread(target=lambda: found.append(unpack(layout, manifest, tmp_path / "cache"))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert len(found) == 4
    assert len(files_of(found[0])) == 200
