"""Container images of local clouds: programs by name, pinned by the hash of their code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from localclouds.images import BadReference, PullFailed, names, parse, pull, reference, register


def a_program(folder: Path, text: str = "print(1)") -> Path:
    package = folder / "program"
    package.mkdir(exist_ok=True)
    (package / "main.py").write_text(text)
    return package


def test_pilotage_itself_is_registered() -> None:
    assert {"pilotage.dev/operator:dev", "pilotage.dev/server:dev"} <= set(names())
    pinned = reference("pilotage.dev/server:dev")
    assert re.fullmatch(r"pilotage\.dev/server:dev@sha256:[0-9a-f]{64}", pinned)
    assert pull(pinned).program.entrypoint == ("pilotage-server",)


def test_a_reference_names_the_code_of_this_moment(tmp_path: Path) -> None:
    package = a_program(tmp_path)
    pinned = register(tmp_path, "test/a:1", ("python", "main.py"), (package,))
    assert pull(pinned, tmp_path).image_id == pinned.replace(":1@", "@")

    (package / "main.py").write_text("print(2)")

    with pytest.raises(PullFailed, match=r"has digest sha256:\w+ now; 'localclouds images' prints"):
        pull(pinned, tmp_path)
    assert reference("test/a:1", tmp_path) != pinned


def test_compiled_files_and_the_folder_do_not_matter(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    pinned = []
    for folder in (first, second):
        folder.mkdir()
        package = a_program(folder)
        pinned.append(register(folder, "test/a:1", ("python",), (package,)))
    (second / "program" / "__pycache__").mkdir()
    (second / "program" / "__pycache__" / "main.cpython-311.pyc").write_bytes(b"x")
    assert pinned[0] == pinned[1] == reference("test/a:1", second)


def test_the_command_and_file_names_are_part_of_the_digest(tmp_path: Path) -> None:
    package = a_program(tmp_path)
    one = register(tmp_path, "test/a:1", ("python",), (package,))
    other = register(tmp_path, "test/a:1", ("python", "-v"), (package,))
    (package / "main.py").rename(package / "other.py")
    renamed = reference("test/a:1", tmp_path)
    assert len({one, other, renamed}) == 3


def test_a_digest_without_a_tag_finds_its_program(tmp_path: Path) -> None:
    pinned = register(tmp_path, "test/a:7", ("python",), (a_program(tmp_path),))
    untagged = pinned.replace(":7@", "@")
    assert pull(untagged, tmp_path).program.name == "test/a:7"


def test_an_unknown_name_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(PullFailed, match=r"image nginx:latest: no such program; local clouds run .*server:dev"):
        pull("nginx", tmp_path)
    with pytest.raises(PullFailed, match="not a reference; write name"):
        pull("UPPER CASE", tmp_path)


@pytest.mark.parametrize(
    ("text", "name", "tag", "digest"),
    [
        ("a", "a", None, None),
        ("localhost:5000/a/b:1.0", "localhost:5000/a/b", "1.0", None),
        ("example.com/a:v@sha256:" + "a" * 64, "example.com/a", "v", "sha256:" + "a" * 64),
        ("a@sha256:" + "0" * 64, "a", None, "sha256:" + "0" * 64),
    ],
)
def test_references_are_read(text: str, name: str, tag: str | None, digest: str | None) -> None:
    found = parse(text)
    assert (found.name, found.tag, found.digest) == (name, tag, digest)


@pytest.mark.parametrize("text", ["", ":1", "a@sha256:12", "a b", "a@md5:00", "a:" + "x" * 200, "a/../b/"])
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(BadReference, match="not a reference"):
        parse(text)
