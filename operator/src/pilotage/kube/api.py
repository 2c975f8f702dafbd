"""The twelve verbs a cluster is spoken to with, and the small types they take and give.

`Api` is the seam between us and a cluster: `ApiClient` stands behind it in production, a simulator in tests.
Objects are plain JSON dicts, as the server sent them, but `list` and `watch` leave `metadata.managedFields`
out: nobody reads it and it is half of the memory. Every verb raises the types of `errors` and nothing else.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple, Protocol, TypeAlias

from pilotage.kube.resources import Resource

Object: TypeAlias = dict[str, Any]
"""An object as the server sent it. What comes out of a cache must not be changed."""

Manifest: TypeAlias = Mapping[str, Any]
"""An object, or part of one, on its way to the server."""

PAGE = 500
"""Objects per page of a list: bounds the memory and the time the loop is held (python-operator.md §2.4)."""

SILENCE_S = 70.0
"""A watch without a byte for so long is dead: bookmarks come once a minute (python-operator.md §1.7)."""


class Key(NamedTuple):
    """Where an object stands within its resource; the namespace is empty for cluster-scoped ones."""

    namespace: str
    name: str

    @classmethod
    def of(cls, manifest: Manifest) -> "Key":
        """Read the key off an object's metadata."""
        metadata = manifest["metadata"]
        return cls(metadata.get("namespace") or "", metadata["name"])

    def __str__(self) -> str:
        """`models/digits`, or `aws` for a cluster-scoped object."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


def version_of(manifest: Manifest) -> int:
    """Return the resourceVersion as a number, 0 when there is none. Comparable since KEP-5504, numbers
    always.
    """
    return int(manifest.get("metadata", {}).get("resourceVersion") or 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """All objects of a selection at one version; what is absent did not exist then."""

    items: tuple[Object, ...]
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyListing:
    """All keys of a selection, each with its object's resourceVersion; `version` is the list's own."""

    versions: Mapping[Key, int]
    version: str


class Upserted(NamedTuple):
    """An object was added or changed."""

    object: Object


class Deleted(NamedTuple):
    """An object is gone; this is its last state, with the resourceVersion of the deletion."""

    object: Object


class Alive(NamedTuple):
    """A bookmark: nothing was missed up to `version`."""

    version: str


WatchEvent: TypeAlias = Upserted | Deleted | Alive


class Propagation(Enum):
    """What happens to the objects that a deleted one owns."""

    BACKGROUND = "Background"
    FOREGROUND = "Foreground"
    ORPHAN = "Orphan"


class Api(Protocol):
    """One cluster. Selectors are written as kubectl takes them: `app=x,tier!=db`, `metadata.name=x`."""

    async def get(self, resource: Resource, key: Key) -> Object:
        """Return one object as it is now. Raises NotFound."""
        ...

    async def list(self, resource: Resource, *, namespace: str = "", labels: str = "", fields: str = "") -> Listing:
        """Return all objects of a selection, read in pages; an empty namespace means all of them."""
        ...

    async def list_keys(
        self, resource: Resource, *, namespace: str = "", labels: str = "", fields: str = ""
    ) -> KeyListing:
        """As `list`, metadata only: keys and versions."""
        ...

    def watch(
        self,
        resource: Resource,
        *,
        version: str,
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        silence_s: float = SILENCE_S,
    ) -> AsyncIterator[WatchEvent]:
        """Yield what happens after `version`. Ends when the server ends it; raises Gone when `version` is too
        old and Timeout after `silence_s` without a byte. Close the iterator (`aclosing`) to let the
        connection go.
        """
        ...

    async def create(self, resource: Resource, manifest: Manifest) -> Object:
        """Create one object. Raises AlreadyExists."""
        ...

    async def replace(self, resource: Resource, manifest: Manifest) -> Object:
        """PUT the whole object; with a resourceVersion in it, Conflict if it is not the current one."""
        ...

    async def apply(self, resource: Resource, manifest: Manifest, *, force: bool = True) -> Object:
        """Server-side apply under the client's field manager: the whole intent; what it no longer says is
        removed.
        """
        ...

    async def merge_patch(self, resource: Resource, key: Key, patch: Manifest) -> Object:
        """RFC 7386 on the object; None removes a field; guarded if the patch names a resourceVersion."""
        ...

    async def json_patch(self, resource: Resource, key: Key, operations: Sequence[Manifest]) -> Object:
        """RFC 6902 on the object. A failed `test` raises Invalid."""
        ...

    async def patch_status(self, resource: Resource, key: Key, status: Manifest, *, version: str) -> Object:
        """RFC 7386 on `.status` only; Conflict unless `version` is the object's current resourceVersion."""
        ...

    async def delete(
        self,
        resource: Resource,
        key: Key,
        *,
        uid: str = "",
        propagation: Propagation = Propagation.BACKGROUND,
    ) -> None:
        """Ask for deletion (finalizers may delay it). Raises NotFound, and Conflict if `uid` is not the
        object's.
        """
        ...

    async def raw_get(
        self, path: str, *, query: Mapping[str, str] | None = None, max_bytes: int | None = None
    ) -> bytes:
        """GET a path that is no resource: `/readyz`, `/version`, a proxied Service. Raises Oversized."""
        ...
