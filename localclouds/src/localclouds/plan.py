"""What an owner asks of its supervisor, and how that crosses the pipe between them. Knows no processes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from localclouds.names import Component


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A cloud as asked for."""

    name: str
    components: tuple[Component, ...]
    scrape_interval_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to run: clouds, binaries by program name, the Gateway API's CRDs, and whose death ends it (a pid)."""

    state: Path
    owner: int
    wishes: tuple[Wish, ...]
    programs: dict[str, Path]
    crds: Path | None

    def encode(self) -> str:
        """The plan as one JSON document."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def decode(cls, text: str) -> Plan:
        """The plan of such a document."""
        raw = json.loads(text)
        wishes = tuple(
            Wish(
                name=each["name"],
                components=tuple(Component(name) for name in each["components"]),
                scrape_interval_s=each["scrape_interval_s"],
            )
            for each in raw["wishes"]
        )
        return cls(
            state=Path(raw["state"]),
            owner=raw["owner"],
            wishes=wishes,
            programs={name: Path(path) for name, path in raw["programs"].items()},
            crds=Path(raw["crds"]) if raw["crds"] else None,
        )
