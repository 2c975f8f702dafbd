"""A container's volumeMounts as mounts of folders and files of this machine. Knows no process."""

from __future__ import annotations

import posixpath
from pathlib import Path

from localclouds.kube import Json
from localclouds.node.environment import ConfigError
from localclouds.node.isolation import Mount
from localclouds.node.volumes import Volumes


def container_mounts(spec: Json, volumes: Volumes) -> tuple[Mount, ...]:
    """The mounts of a container. Raises ConfigError for a subPath that is not there or leaves its volume."""
    return tuple(_mount(entry, volumes) for entry in spec.get("volumeMounts") or ())


def _mount(entry: Json, volumes: Volumes) -> Mount:
    name = entry["name"]
    source = volumes.path(name)
    if entry.get("subPath"):
        source = _below(source, entry["subPath"], name)
    read_only = bool(entry.get("readOnly")) or not volumes.is_writable(name)
    path = posixpath.normpath("/" + entry["mountPath"])
    return Mount(source=str(source), path=path, read_only=read_only, is_dir=source.is_dir())


def _below(folder: Path, sub_path: str, volume: str) -> Path:
    # Resolved now, as with a kubelet: a subPath mount shows the file of this moment and is not refreshed.
    found = (folder / sub_path).resolve()
    if not found.is_relative_to(folder.resolve()):
        raise ConfigError(f'volume "{volume}": subPath {sub_path} leaves the volume')
    if not found.exists():
        raise ConfigError(f'volume "{volume}": subPath {sub_path} does not exist')
    return found
