"""Lists in pages: whole, in order, and whole again when a page is forgotten on the way."""

from typing import Any

import pytest
from aiohttp import web

from pilotage.kube import Gone, Key
from pilotage.kube.client import ApiClient
from pilotage.kube.resources import CONFIG_MAPS
from support.https import serving

EXPIRED = {"kind": "Status", "code": 410, "reason": "Expired", "message": "the continue token is too old"}


class Shelf:
    """A list of seven; `forgets` all continue tokens if told so."""

    def __init__(self, *, forgets: bool = False, is_gone: bool = False) -> None:
        self.forgets = forgets
        self.is_gone = is_gone
        self.queries: list[dict[str, str]] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        query = dict(request.query)
        self.queries.append(query)
        if self.is_gone or (self.forgets and "continue" in query):
            return web.json_response(EXPIRED, status=410)
        start = int(query.get("continue", 0))
        end = min(7, start + int(query.get("limit", 7)))
        items = [self._item(number) for number in range(start, end)]
        more = {"continue": str(end)} if end < 7 else {}
        return web.json_response({"metadata": {"resourceVersion": "70", **more}, "items": items})

    def _item(self, number: int) -> dict[str, Any]:
        return {"metadata": {"name": f"n{number}", "namespace": "x", "resourceVersion": str(number + 1)}}


async def listed(shelf: Shelf) -> list[str]:
    async with (
        serving(shelf.answer) as server,
        ApiClient(server.endpoint(), field_manager="pilotage", page=3) as client,
    ):
        listing = await client.list(CONFIG_MAPS, labels="a=b", fields="metadata.name!=z")
    assert listing.version == "70"
    return [item["metadata"]["name"] for item in listing.items]


async def test_pages_are_put_together_in_order() -> None:
    shelf = Shelf()

    assert await listed(shelf) == [f"n{number}" for number in range(7)]
    selection = {"labelSelector": "a=b", "fieldSelector": "metadata.name!=z"}
    assert shelf.queries == [
        selection | {"limit": "3"},
        selection | {"limit": "3", "continue": "3"},
        selection | {"limit": "3", "continue": "6"},
    ]


async def test_a_page_that_is_forgotten_makes_the_list_start_over_in_one_piece() -> None:
    shelf = Shelf(forgets=True)

    assert await listed(shelf) == [f"n{number}" for number in range(7)]
    assert [("limit" in query) for query in shelf.queries] == [True, True, False]


async def test_a_list_that_is_gone_at_once_is_gone() -> None:
    with pytest.raises(Gone):
        await listed(Shelf(is_gone=True))


async def test_items_say_their_kind_and_keys_come_with_versions() -> None:
    async with (
        serving(Shelf().answer) as server,
        ApiClient(server.endpoint(), field_manager="pilotage", page=3) as client,
    ):
        listing = await client.list(CONFIG_MAPS)
        keys = await client.list_keys(CONFIG_MAPS)

    assert {(item["apiVersion"], item["kind"]) for item in listing.items} == {("v1", "ConfigMap")}
    assert keys.versions == {Key("x", f"n{number}"): number + 1 for number in range(7)}
