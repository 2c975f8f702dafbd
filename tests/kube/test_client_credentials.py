"""Who we are, how often we knock, and what we never send."""

import asyncio
import os
from pathlib import Path

import pytest
from aiohttp import web

from pilotage.kube import Key, Unauthorized
from pilotage.kube.client import ApiClient
from pilotage.kube.endpoint import ClientCertificate, Token, TokenFile
from pilotage.kube.resources import CONFIG_MAPS
from pilotage.kube.transport import Limits
from support.https import serving

KEY = Key("models", "digits")
REFUSAL = {"kind": "Status", "code": 401, "reason": "Unauthorized", "message": "who are you?"}


class Door:
    """Lets in whoever shows the right token, and notes what was shown."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.shown: list[str] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.shown.append(request.headers.get("Authorization", ""))
        if self.shown[-1] == f"Bearer {self.token}":
            return web.json_response({"metadata": {}})
        return web.json_response(REFUSAL, status=401)


async def test_shows_its_token() -> None:
    door = Door("secret")
    async with (
        serving(door.answer) as server,
        ApiClient(server.endpoint(Token(value="secret")), field_manager="pilotage") as client,
    ):
        await client.get(CONFIG_MAPS, KEY)

    assert door.shown == ["Bearer secret"]


async def test_a_renewed_token_is_read_at_once_when_the_old_one_is_refused(tmp_path: Path) -> None:
    door, path = Door("old"), tmp_path / "token"
    path.write_text("old\n")
    async with (
        serving(door.answer) as server,
        ApiClient(server.endpoint(TokenFile(path=path)), field_manager="pilotage") as client,
    ):
        await client.get(CONFIG_MAPS, KEY)
        door.token = "new"
        path.write_text("new\n")
        await client.get(CONFIG_MAPS, KEY)

    assert door.shown == ["Bearer old", "Bearer old", "Bearer new"]


async def test_a_token_that_is_refused_is_not_tried_again_and_again(tmp_path: Path) -> None:
    door, path = Door("right"), tmp_path / "token"
    path.write_text("wrong")
    async with (
        serving(door.answer) as server,
        ApiClient(server.endpoint(TokenFile(path=path)), field_manager="pilotage") as client,
    ):
        with pytest.raises(Unauthorized, match="who are you"):
            await client.get(CONFIG_MAPS, KEY)

    assert len(door.shown) == 1


async def test_the_last_token_is_good_while_its_file_is_away(tmp_path: Path) -> None:
    door, path = Door("old"), tmp_path / "token"
    path.write_text("old")
    async with (
        serving(door.answer) as server,
        ApiClient(server.endpoint(TokenFile(path=path)), field_manager="pilotage") as client,
    ):
        await client.get(CONFIG_MAPS, KEY)
        path.unlink()
        door.token = "new"
        with pytest.raises(Unauthorized, match="who are you"):
            await client.get(CONFIG_MAPS, KEY)


async def test_a_token_file_that_is_missing_is_said_to_be(tmp_path: Path) -> None:
    door = Door("right")
    async with (
        serving(door.answer) as server,
        ApiClient(server.endpoint(TokenFile(path=tmp_path / "token")), field_manager="pilotage") as client,
    ):
        with pytest.raises(Unauthorized, match="token: No such file"):
            await client.get(CONFIG_MAPS, KEY)

    assert door.shown == []


async def test_shows_its_certificate_and_leaves_no_file_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    names = []

    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        certificate = request.transport.get_extra_info("peercert")
        names.append(certificate["subject"][0][0][1])
        return web.json_response({"metadata": {}})

    async with serving(answer) as server:
        certificate, key = server.authority.issue("pilotage-operator")
        credential = ClientCertificate(certificate=certificate, key=key)
        async with ApiClient(server.endpoint(credential), field_manager="pilotage") as client:
            await client.get(CONFIG_MAPS, KEY)

    assert names == ["pilotage-operator"]
    assert os.listdir(tmp_path) == []


async def test_never_more_calls_in_flight_than_allowed() -> None:
    under_way, most = 0, 0

    async def answer(_: web.Request) -> web.StreamResponse:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.02)
        under_way -= 1
        return web.json_response({"metadata": {}})

    async with (
        serving(answer) as server,
        ApiClient(server.endpoint(), field_manager="pilotage", limits=Limits(in_flight=3)) as client,
    ):
        await asyncio.gather(*(client.get(CONFIG_MAPS, KEY) for _ in range(12)))

    assert most == 3


async def test_writes_name_their_manager_and_their_kind_of_patch() -> None:
    seen = []

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.append((request.method, request.content_type, request.query_string))
        return web.json_response({"metadata": {}})

    manifest = {"metadata": {"namespace": "models", "name": "digits"}}
    async with (
        serving(answer) as server,
        ApiClient(server.endpoint(), field_manager="pilotage") as client,
    ):
        await client.apply(CONFIG_MAPS, manifest)
        await client.apply(CONFIG_MAPS, manifest, force=False)
        await client.merge_patch(CONFIG_MAPS, KEY, {"data": {}})
        await client.json_patch(CONFIG_MAPS, KEY, ())
        await client.create(CONFIG_MAPS, manifest)

    assert seen == [
        ("PATCH", "application/apply-patch+yaml", "fieldManager=pilotage&force=true"),
        ("PATCH", "application/apply-patch+yaml", "fieldManager=pilotage&force=false"),
        ("PATCH", "application/merge-patch+json", "fieldManager=pilotage"),
        ("PATCH", "application/json-patch+json", "fieldManager=pilotage"),
        ("POST", "application/json", "fieldManager=pilotage"),
    ]
