"""Whatever a server or the network does comes out as one of our errors, and nothing foreign passes."""

import asyncio
import inspect
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web
from kubernetes.aio.client import exceptions as official

from pilotage.kube import (
    AlreadyExists,
    ApiError,
    Cause,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    Key,
    KubeError,
    NotFound,
    Rejected,
    Throttled,
    Timeout,
    Transient,
    Unauthorized,
    Unavailable,
    Unreachable,
    Untrusted,
)
from pilotage.kube.client import ApiClient
from pilotage.kube.resources import CONFIG_MAPS, DEPLOYMENTS
from pilotage.kube.translation import error_of_exception, translated
from pilotage.kube.transport import Call, Limits
from support.https import Answer, Server, serving
from support.tls import a_certificate_authority

KEY = Key("models", "digits")
QUICK = Limits(connect_s=2.0, read_s=0.4, total_s=1.0)


def a_status(code: int, reason: str = "", **details: Any) -> dict[str, Any]:
    return {"kind": "Status", "code": code, "reason": reason, "message": f"because {code}", "details": details}


def answering(code: int, body: Any = None, **headers: str) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        payload = body if isinstance(body, bytes) else orjson.dumps(body if body is not None else {})
        return web.Response(status=code, body=payload, headers={k.replace("_", "-"): v for k, v in headers.items()})

    return answer


@asynccontextmanager
async def a_client_of(answer: Answer) -> AsyncIterator[ApiClient]:
    async with (
        serving(answer) as server,
        ApiClient(server.endpoint(), field_manager="pilotage", limits=QUICK) as client,
    ):
        yield client


async def failure_of(answer: Answer) -> ApiError:
    async with a_client_of(answer) as client:
        with pytest.raises(ApiError) as raised:
            await client.get(DEPLOYMENTS, KEY)
    return raised.value


@pytest.mark.parametrize(
    ("code", "reason", "expected"),
    [
        (400, "BadRequest", Invalid),
        (401, "Unauthorized", Unauthorized),
        (403, "Forbidden", Forbidden),
        (404, "NotFound", NotFound),
        (405, "MethodNotAllowed", Rejected),
        (408, "Timeout", Timeout),
        (409, "Conflict", Conflict),
        (409, "AlreadyExists", AlreadyExists),
        (410, "Expired", Gone),
        (413, "RequestEntityTooLarge", Rejected),
        (415, "UnsupportedMediaType", Rejected),
        (422, "Invalid", Invalid),
        (429, "TooManyRequests", Throttled),
        (500, "InternalError", Unavailable),
        (503, "ServiceUnavailable", Unavailable),
        (504, "Timeout", Unavailable),
    ],
)
async def test_an_answer_becomes_the_error_of_its_status(code: int, reason: str, expected: type[ApiError]) -> None:
    error = await failure_of(answering(code, a_status(code, reason)))

    assert type(error) is expected
    assert error.code == code
    assert str(error) == f"GET /apis/apps/v1/namespaces/models/deployments/digits: because {code}"


async def test_causes_name_the_fields() -> None:
    cause = {"field": "spec.replicas", "reason": "FieldValueInvalid", "message": "must be positive"}

    error = await failure_of(answering(422, a_status(422, "Invalid", causes=[cause])))

    assert isinstance(error, Invalid)
    assert error.causes == (Cause(field="spec.replicas", reason="FieldValueInvalid", message="must be positive"),)


@pytest.mark.parametrize(
    ("headers", "details", "after_s"),
    [
        ({"Retry_After": "7"}, {}, 7.0),
        (
            {"Retry_After": "Mon, 05 Jan 2026 10:00:09 GMT", "Date": "Mon, 05 Jan 2026 10:00:00 GMT"},
            {},
            9.0,
        ),
        ({"Retry_After": "soon"}, {}, None),
        ({}, {"retryAfterSeconds": 3}, 3.0),
        ({}, {}, None),
    ],
)
async def test_the_wish_of_a_busy_server_is_heard(
    headers: dict[str, str], details: dict[str, Any], after_s: float | None
) -> None:
    error = await failure_of(answering(429, a_status(429, **details), **headers))

    assert isinstance(error, Throttled)
    assert error.after_s == after_s


async def test_the_words_of_a_proxy_on_the_way_are_kept() -> None:
    error = await failure_of(answering(502, b"<html>bad gateway</html>"))

    assert isinstance(error, Unavailable)
    assert "HTTP 502 <html>bad gateway</html>" in str(error)


@pytest.mark.parametrize("body", [b"", b"<html>login</html>", b"[1]", b"{"])
async def test_an_answer_that_is_no_object_is_no_answer(body: bytes) -> None:
    assert type(await failure_of(answering(200, body))) is Unavailable


async def test_a_redirect_is_not_followed() -> None:
    followed = []

    async def elsewhere(request: web.Request) -> web.StreamResponse:
        followed.append(request.headers.get("Authorization"))
        return web.json_response({})

    async with serving(elsewhere) as other:
        error = await failure_of(answering(307, Location=f"{other.url}/steal"))

    assert type(error) is Rejected
    assert "a credential is sent nowhere else" in str(error)
    assert followed == []


async def test_silence_is_a_timeout() -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(5)
        return web.Response()

    assert type(await failure_of(answer)) is Timeout


async def test_an_answer_that_drips_ends_too() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.1)

    assert type(await failure_of(answer)) is Timeout


async def test_a_connection_that_breaks_is_unreachable() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        assert request.transport is not None
        request.transport.abort()
        return response

    assert type(await failure_of(answer)) is Unreachable


async def test_a_port_where_nobody_listens_is_unreachable() -> None:
    async with serving(answering(200)) as server:
        endpoint = server.endpoint()

    async with ApiClient(endpoint, field_manager="pilotage", limits=QUICK) as client:
        with pytest.raises(Unreachable) as raised:
            await client.get(DEPLOYMENTS, KEY)
    assert type(raised.value) is Unreachable


async def test_a_port_that_never_greets_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        endpoint = Server(url=url, authority=a_certificate_authority()).endpoint()
        limits = Limits(connect_s=0.3)
        async with ApiClient(endpoint, field_manager="pilotage", limits=limits) as client:
            with pytest.raises(Unreachable):
                await client.get(DEPLOYMENTS, KEY)


async def test_another_authority_is_untrusted() -> None:
    async with serving(answering(200)) as server:
        endpoint = server.endpoint(ca=a_certificate_authority().pem)
        async with ApiClient(endpoint, field_manager="pilotage", limits=QUICK) as client:
            with pytest.raises(Untrusted, match="TLS handshake failed"):
                await client.get(DEPLOYMENTS, KEY)


async def test_a_certificate_for_another_host_is_untrusted() -> None:
    async with (
        serving(answering(200), certificate_for="127.9.9.9") as server,
        ApiClient(server.endpoint(), field_manager="pilotage", limits=QUICK) as client,
    ):
        with pytest.raises(Untrusted):
            await client.get(DEPLOYMENTS, KEY)


async def events_of(*lines: bytes, silence_s: float = 0.3) -> AsyncIterator[Any]:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for line in lines:
            await response.write(line)
        if silence_s < 1:
            await asyncio.sleep(5)
        return response

    async with a_client_of(answer) as client:
        async for event in client.watch(CONFIG_MAPS, version="1", silence_s=silence_s):
            yield event


async def all_of(events: AsyncIterator[Any]) -> list[Any]:
    return [event async for event in events]


def an_event(kind: str, version: int = 5) -> bytes:
    found = {"metadata": {"name": "a", "resourceVersion": str(version)}}
    return orjson.dumps({"type": kind, "object": found}) + b"\n"


async def test_events_are_read_however_they_are_cut() -> None:
    whole = an_event("ADDED") + an_event("MODIFIED") + an_event("DELETED") + an_event("BOOKMARK")
    cuts = [whole[:10], whole[10:95], whole[95:96], whole[96:]]

    events = await all_of(events_of(*cuts, silence_s=5))

    assert [type(event).__name__ for event in events] == ["Upserted", "Upserted", "Deleted", "Alive"]


async def test_a_silent_watch_times_out() -> None:
    with pytest.raises(Timeout):
        await all_of(events_of(an_event("ADDED")))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (orjson.dumps({"type": "ERROR", "object": a_status(410, "Expired")}) + b"\n", Gone),
        (orjson.dumps({"type": "ERROR", "object": a_status(500)}) + b"\n", Unavailable),
        (orjson.dumps({"type": "STRANGE", "object": {}}) + b"\n", Unavailable),
        (b"no json\n", Unavailable),
    ],
)
async def test_a_broken_watch_says_how(line: bytes, expected: type[ApiError]) -> None:
    with pytest.raises(expected):
        await all_of(events_of(line))


async def test_a_refused_watch_says_why() -> None:
    async with a_client_of(answering(403, a_status(403, "Forbidden"))) as client:
        with pytest.raises(Forbidden, match=r"^WATCH /api/v1/configmaps: because 403$"):
            await anext(aiter(client.watch(CONFIG_MAPS, version="1")))


async def test_every_call_is_told_to_the_observer() -> None:
    calls: list[Call] = []
    async with (
        serving(answering(404, a_status(404))) as server,
        ApiClient(server.endpoint(), field_manager="pilotage", observer=calls.append) as client,
    ):
        with pytest.raises(NotFound):
            await client.get(CONFIG_MAPS, KEY)

    assert [(call.method, call.path, call.code) for call in calls] == [
        ("GET", "/api/v1/namespaces/models/configmaps/digits", 404)
    ]


def foreign_errors() -> Iterator[type[Exception]]:
    """Walk the error classes of the libraries below us."""
    for module, root in ((aiohttp, aiohttp.ClientError), (official, official.OpenApiException), (ssl, ssl.SSLError)):
        for _, found in inspect.getmembers(module, inspect.isclass):
            if issubclass(found, root):
                yield found
    yield from (TimeoutError, OSError, ConnectionResetError, EOFError, orjson.JSONDecodeError)


@pytest.mark.parametrize("foreign", sorted(set(foreign_errors()), key=str), ids=lambda found: found.__name__)
def test_every_foreign_error_is_translated(foreign: type[Exception]) -> None:
    # some constructors want half a connection; the class is what counts
    told: dict[str, Any] = {"__init__": lambda self: None, "__str__": lambda self: "because"}
    error = type(foreign.__name__, (foreign,), told)()

    with pytest.raises(KubeError) as raised, translated("GET /x"):
        raise error

    assert raised.value.__cause__ is error


def test_mistakes_of_this_program_are_not_translated() -> None:
    assert error_of_exception("GET /x", TypeError("a bug")) is None
    with pytest.raises(ZeroDivisionError), translated("GET /x"):
        raise ZeroDivisionError


def test_the_tree_says_what_to_do_next() -> None:
    again = {Throttled, Unavailable, Unreachable, Untrusted, Timeout}
    anew = {Unauthorized, Forbidden, NotFound, Conflict, AlreadyExists, Gone, Invalid}

    assert all(issubclass(error, Transient) and not issubclass(error, Rejected) for error in again)
    assert all(issubclass(error, Rejected) and not issubclass(error, Transient) for error in anew)
