"""One list and its watch, as one stream of facts.

`Listed` is complete: what it lacks was deleted. What follows are single changes, and bookmarks (`Alive`) that
prove nothing was missed. The stream ends when the server ends it: call again with the last version seen, and
nothing is listed. It raises Gone when that version is too old (call again without), Transient errors for the
caller's back-off.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias, cast

from pilotage.kube.api import SILENCE_S, Alive, Api, Deleted, Key, Object, Upserted, WatchEvent
from pilotage.kube.resources import Resource


class Listed(NamedTuple):
    """Everything of the selection at one version."""

    objects: dict[Key, Object]
    version: str


Fact: TypeAlias = Listed | Upserted | Deleted | Alive


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which objects are followed; selectors as kubectl writes them, an empty namespace means all."""

    resource: Resource
    namespace: str = ""
    labels: str = ""
    fields: str = ""


async def watch(
    api: Api, selection: Selection, *, version: str = "", silence_s: float = SILENCE_S
) -> AsyncIterator[Fact]:
    """Yield facts from `version` on, or from a fresh list when there is none."""
    if not version:
        listing = await api.list(
            selection.resource,
            namespace=selection.namespace,
            labels=selection.labels,
            fields=selection.fields,
        )
        version = listing.version
        yield Listed({Key.of(item): item for item in listing.items}, version)
    events = api.watch(
        selection.resource,
        version=version,
        namespace=selection.namespace,
        labels=selection.labels,
        fields=selection.fields,
        silence_s=silence_s,
    )
    # every implementation is an async generator; closing it lets the connection go at once
    async with aclosing(cast(AsyncGenerator[WatchEvent, None], events)):
        async for event in events:
            yield event


def version_after(fact: Fact) -> str:
    """Return the version from which to go on after this fact."""
    match fact:
        case Listed(version=version) | Alive(version=version):
            return version
        case Upserted(object=found) | Deleted(object=found):
            return cast(str, found["metadata"]["resourceVersion"])
