"""Image references, `name[:tag][@sha256:…]`, as values. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

_REFERENCE = re.compile(
    r"(?P<name>[a-z0-9][a-z0-9._-]*(?::[0-9]+(?=/))?(?:/[a-z0-9._-]+)*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?"
    r"(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)


class BadReference(ValueError):
    """The text is no image reference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """An image by name, with a tag, a digest, or both; where both are given the digest decides."""

    name: str
    tag: str | None
    digest: str | None

    @property
    def tagged(self) -> str:
        """Name and tag; a missing tag is `latest`, as everywhere."""
        return f"{self.name}:{self.tag or 'latest'}"


def parse(text: str) -> Reference:
    """Read a reference. Raises BadReference."""
    found = _REFERENCE.fullmatch(text)
    if found is None:
        raise BadReference(f"image {text!r}: not a reference; write name[:tag][@sha256:<64 hex digits>]")
    return Reference(name=found["name"], tag=found["tag"], digest=found["digest"])
