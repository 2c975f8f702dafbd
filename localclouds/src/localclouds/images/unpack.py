"""Layers of an artifact as a folder, once per digest, and never outside that folder.

Invariants: a folder under its final name is complete; members that would leave it, devices and links out of
it are refused (the "data" filter of tarfile); size and number of files are bounded. Whiteouts of upper layers
remove what lower ones brought.
"""

from __future__ import annotations

import shutil
import tarfile
import tempfile
import zlib
from pathlib import Path, PurePosixPath

from localclouds.images.layout import LayoutProblem, Manifest, open_blob

MOST_BYTES = 4 * 1024**3
MOST_FILES = 100_000
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_MODES = {"tar": "r|", "tar+gzip": "r|gz", "tar.gzip": "r|gz"}


def unpack(store: Path, manifest: Manifest, cache: Path) -> Path:
    """The folder with the artifact's files below `cache`, unpacked now if it is not there. Raises
    LayoutProblem.
    """
    folder = cache / manifest.digest.removeprefix("sha256:")
    if folder.exists():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=cache))
    draft.chmod(0o755)
    try:
        budget = _Budget()
        for digest, media_type in manifest.layers:
            _unpack_layer(store, digest, media_type, draft, budget)
        draft.rename(folder)
    except OSError:
        # Another thread was faster: its folder is as good.
        if not folder.exists():
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


class _Budget:
    """What an artifact may still write."""

    def __init__(self) -> None:
        self.bytes = MOST_BYTES
        self.files = MOST_FILES

    def spend(self, member: tarfile.TarInfo, digest: str) -> None:
        self.bytes -= member.size
        self.files -= 1
        if self.bytes < 0 or self.files < 0:
            raise LayoutProblem(f"{digest}: unpacks to more than {MOST_BYTES} bytes or {MOST_FILES} files")


def _unpack_layer(store: Path, digest: str, media_type: str, target: Path, budget: _Budget) -> None:
    mode = next((mode for suffix, mode in _MODES.items() if media_type.endswith(suffix)), None)
    if mode is None:
        raise LayoutProblem(f"{digest}: layer of type {media_type}; write tar or tar+gzip layers")
    with open_blob(store, digest) as blob:
        try:
            with tarfile.open(fileobj=blob, mode=mode) as layer:  # type: ignore[call-overload]
                for member in layer:
                    budget.spend(member, digest)
                    if not _whiteout(target, member.name):
                        layer.extract(member, target, filter="data")
        except (tarfile.TarError, zlib.error, EOFError, ValueError) as error:
            raise LayoutProblem(f"{digest}: the layer cannot be unpacked ({error})") from error


def _whiteout(target: Path, name: str) -> bool:
    path = PurePosixPath(name)
    if not path.name.startswith(_WHITEOUT):
        return False
    parent = (target / path.parent).resolve()
    if not parent.is_relative_to(target.resolve()):
        raise LayoutProblem(f"{name}: a whiteout outside the artifact")
    if path.name == _OPAQUE:
        gone = list(parent.iterdir()) if parent.is_dir() else []
    else:
        victim_name = path.name.removeprefix(_WHITEOUT)
        if victim_name in ("", ".", ".."):
            raise LayoutProblem(f"{name}: a whiteout of no file")
        gone = [parent / victim_name]
    for victim in gone:
        if victim.is_dir() and not victim.is_symlink():
            shutil.rmtree(victim)
        else:
            victim.unlink(missing_ok=True)
    return True
