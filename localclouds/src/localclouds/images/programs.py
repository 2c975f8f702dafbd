"""The registered programs: what stands behind container image names.

A digest is the hash of a program's files, its requirements and its command; it is computed from what is on
disk at the moment of asking, so a program edited after a pod was written no longer has the digest that the
pod asks for, and the pull is refused. Two programs are always there; an instance can have more in
`STATE/programs.json` (`register`).
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from localclouds.images.reference import BadReference, parse


class PullFailed(Exception):
    """The image cannot be run here: unknown, or its program is not the one the digest names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """An image name with tag, the command it starts, and the files and folders whose content is its digest."""

    name: str
    entrypoint: tuple[str, ...]
    sources: tuple[Path, ...]

    @property
    def digest(self) -> str:
        """`sha256:…` over paths (below each source) and contents of all files, and over the command."""
        total = hashlib.sha256("\0".join(self.entrypoint).encode())
        for number, source in enumerate(self.sources):
            for path in _files(source):
                inside = path.relative_to(source) if path != source else Path(path.name)
                content = hashlib.sha256(path.read_bytes()).hexdigest()
                total.update(f"\n{number}/{inside.as_posix()}\0{content}".encode())
        return f"sha256:{total.hexdigest()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A pulled image: its program, and the digest it had when it was pulled."""

    program: Program
    digest: str

    @property
    def image_id(self) -> str:
        """What container statuses report as imageID."""
        return f"{parse(self.program.name).name}@{self.digest}"


def programs(state: Path | None = None) -> Mapping[str, Program]:
    """All programs by image name: the two of Pilotage, and those registered in the instance at `state`."""
    found = {program.name: program for program in _pilotage()}
    path = None if state is None else state / "programs.json"
    if path is not None and path.exists():
        for name, fields in json.loads(path.read_bytes()).items():
            sources = tuple(Path(source) for source in fields.get("sources", ()))
            found[name] = Program(name=name, entrypoint=tuple(fields["argv"]), sources=sources)
    return found


def register(state: Path, name: str, argv: tuple[str, ...], sources: tuple[Path, ...] = ()) -> str:
    """Register a program in the instance at `state` (a name already there is replaced) and return its
    reference.
    """
    parse(name)
    path = state / "programs.json"
    known = json.loads(path.read_bytes()) if path.exists() else {}
    known[name] = {"argv": list(argv), "sources": [str(source.resolve()) for source in sources]}
    draft = path.with_suffix(f".{os.getpid()}")
    draft.write_text(json.dumps(known, indent=2))
    draft.replace(path)
    return reference(name, state)


def names(state: Path | None = None) -> tuple[str, ...]:
    """Every image name, sorted."""
    return tuple(sorted(programs(state)))


def reference(name: str, state: Path | None = None) -> str:
    """The pinned reference of a program, `name:tag@sha256:…`. Raises PullFailed for unknown names."""
    return f"{name}@{_find(name, state).digest}"


def pull(text: str, state: Path | None = None) -> Image:
    """The program behind a reference, its digest checked. Raises PullFailed with a remedy."""
    try:
        wanted = parse(text)
    except BadReference as error:
        raise PullFailed(str(error)) from error
    program = _find(wanted.tagged if wanted.tag or not wanted.digest else wanted.name, state, wanted.digest)
    digest = program.digest
    if wanted.digest is not None and wanted.digest != digest:
        raise PullFailed(
            f"image {text}: the registered program {program.name} has digest {digest} now; "
            "'localclouds images' prints current references"
        )
    return Image(program=program, digest=digest)


def _find(name: str, state: Path | None, digest: str | None = None) -> Program:
    known = programs(state)
    if name in known:
        return known[name]
    for program in known.values():
        if digest is not None and parse(program.name).name == name and program.digest == digest:
            return program
    raise PullFailed(
        f"image {name}: no such program; local clouds run {', '.join(sorted(known))} "
        "and what is registered in programs.json of the state directory"
    )


def _pilotage() -> Iterator[Program]:
    for name, command, package, requirements in (
        ("pilotage.dev/operator:dev", "pilotage-operator", "pilotage", "operator.txt"),
        ("pilotage.dev/server:dev", "pilotage-server", "pilotage_server", "server.txt"),
    ):
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            continue
        sources = [Path(spec.submodule_search_locations[0])]
        pinned = Path(__file__).parents[4] / "requirements" / requirements
        if pinned.exists():
            sources.append(pinned)
        # A command without its folder, so that one checkout has the same digest everywhere: the node agent
        # puts the folder of its own Python first on PATH.
        yield Program(name=name, entrypoint=(command,), sources=tuple(sources))


def _files(source: Path) -> Iterator[Path]:
    if source.is_file():
        yield source
        return
    for path in sorted(source.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc":
            yield path
