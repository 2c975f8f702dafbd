"""Where the files of a bundle come from: a folder, or one tar layer of an OCI image layout.

A source tells names and sizes before anything is read, so that caps act first. Only plain files at the top
are accepted: no links, no folders, no devices. Knows nothing of what the files mean.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from pilotage_server.bundle.errors import Refused

_REMEDY = "a bundle holds plain files only, as pilotage-model train writes them"


class Source(Protocol):
    """Names, sizes (bytes) and contents of a bundle's files."""

    @property
    def sizes(self) -> Mapping[str, int]:
        """Every file with its size."""

    def read(self, name: str) -> bytes:
        """Read exactly as many bytes as `sizes` told; raises `Refused` if there are fewer or more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderSource:
    """A folder, for example a mounted image volume."""

    folder: Path
    sizes: Mapping[str, int]

    def read(self, name: str) -> bytes:
        """Read a file; it may not have grown since its size was taken."""
        try:
            with (self.folder / name).open("rb") as file:
                return _exactly(file, name, self.sizes[name])
        except OSError as error:
            raise Refused(name, f"cannot be read ({error.strerror})", "check the volume and its permissions") from error


def open_folder(folder: Path) -> FolderSource:
    """List a folder; raises `Refused` when it is missing or holds anything but plain files."""
    if not folder.is_dir():
        raise Refused(str(folder), *_why_no_folder(folder))
    if (folder / "bundle").is_dir() and (folder / "oci").is_dir():
        raise Refused(str(folder), "is the folder of a training run", "name its bundle/ or its oci/")
    sizes = {}
    for entry in sorted(folder.iterdir()):
        if entry.is_symlink() or not entry.is_file():
            raise Refused(entry.name, "is not a plain file", _REMEDY)
        sizes[entry.name] = entry.stat().st_size
    return FolderSource(folder=folder, sizes=sizes)


def _why_no_folder(path: Path) -> tuple[str, str]:
    if path.is_file():
        return "is a file", "name the folder, or the OCI layout, that it was packed from"
    if re.match(r"[^/]+[.:][^/]*/", str(path)):
        return "is not here", "a bundle in a registry comes with pilotage-model pull REFERENCE --out DIR"
    return "is not a folder", "check --bundle and the image volume behind it"


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSource:
    """One uncompressed tar layer, whose digest has been checked by whoever opened it."""

    layer: Path
    members: Mapping[str, tuple[int, int]]
    """Name → (offset in the layer, size), bytes."""

    @property
    def sizes(self) -> Mapping[str, int]:
        """Every file with its size."""
        return {name: size for name, (_, size) in self.members.items()}

    def read(self, name: str) -> bytes:
        """Read a file straight from its place in the layer."""
        offset, size = self.members[name]
        with self.layer.open("rb") as file:
            file.seek(offset)
            content = file.read(size)
        if len(content) != size:
            raise Refused(name, "is cut off", "load the image again")
        return content


def open_layer(layer: Path) -> LayerSource:
    """List a tar layer; raises `Refused` when it holds anything but plain files at its root."""
    members: dict[str, tuple[int, int]] = {}
    try:
        with tarfile.open(layer, "r:") as archive:
            for member in archive:
                name = member.name.removeprefix("./")
                if not member.isreg() or "/" in name or name in members:
                    raise Refused(name, "is not a plain file at the root of its layer", _REMEDY)
                members[name] = (member.offset_data, member.size)
    except (tarfile.TarError, OSError) as error:
        raise Refused(layer.name[:19], f"is not a tar layer ({error})", "load the image again") from error
    return LayerSource(layer=layer, members=members)


def _exactly(file: BinaryIO, name: str, size: int) -> bytes:
    content = file.read(size + 1)
    if len(content) != size:
        raise Refused(
            name, f"changed while it was read: {size} bytes were announced", "do not write to a bundle in use"
        )
    return content
