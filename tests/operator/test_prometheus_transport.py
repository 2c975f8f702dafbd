"""The way to a member's Prometheus: who we are, whom we trust, and every failure on the side where it is mended."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from pilotage.api.types import MemberCluster, Metadata, PrometheusRef, SecretKeyRef
from pilotage.engine import prometheus
from pilotage.engine.prometheus import Prometheus
from pilotage.evidence.errors import Refused, Unreachable
from pilotage.fleet.link import NotUsable
from support.https import serving

ANSWER = b'{"status":"success","data":{}}'
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class FakeSecrets:
    """Secrets by name."""

    def __init__(self, **secrets: dict[str, bytes]) -> None:
        self.secrets = secrets

    namespace = "pilotage"

    def read(self, name: str) -> dict[str, bytes] | None:
        return self.secrets.get(name)

    async def ready(self, name: str) -> None:
        return None

    def problem(self, name: str) -> str:
        return ""


def a_member(url: str | None, *, auth: str | None = None, ca: str | None = None) -> MemberCluster:
    def reference(name: str | None) -> SecretKeyRef | None:
        return SecretKeyRef(name=name) if name else None

    where = None
    if url is not None:
        where = PrometheusRef(url=url, auth_secret_ref=reference(auth), ca_secret_ref=reference(ca))
    return MemberCluster(metadata=Metadata(name="aws"), kubeconfig_secret_ref=None, prometheus=where)


async def ask(member: MemberCluster, **secrets: dict[str, bytes]) -> bytes:
    transport = Prometheus(lambda: {"aws": member}, FakeSecrets(**secrets), lambda _: None)
    try:
        return await transport.fetch("aws", "time()", 12.0)
    finally:
        await transport.close()


@asynccontextmanager
async def plain(answer: Answer) -> AsyncIterator[str]:
    """A server without TLS."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/prefix"
    finally:
        await runner.cleanup()


async def test_the_question_and_its_time_arrive_below_the_given_path() -> None:
    async def answer(request: web.Request) -> web.Response:
        assert request.path == "/prefix/api/v1/query"
        form = await request.post()
        assert (form["query"], form["time"]) == ("time()", "12.000")
        return web.Response(body=ANSWER)

    async with plain(answer) as url:
        assert await ask(a_member(url)) == ANSWER


@pytest.mark.parametrize(
    ("secret", "header"),
    [(b"abc\n", "Bearer abc"), (b"me:pass", "Basic " + base64.b64encode(b"me:pass").decode())],
    ids=["token", "user-and-password"],
)
async def test_a_credential_is_shown_as_what_it_is(secret: bytes, header: str) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=ANSWER, status=200 if request.headers.get("Authorization") == header else 401)

    async with plain(answer) as url:
        assert await ask(a_member(url, auth="s"), s={"token": secret}) == ANSWER


async def test_only_the_given_authority_is_trusted() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=ANSWER)

    async with serving(answer) as server:
        trusted = a_member(server.url, ca="ca")
        assert await ask(trusted, ca={"ca.crt": server.authority.pem.encode()}) == ANSWER
        with pytest.raises(Unreachable):
            await ask(a_member(server.url))


async def test_a_credential_does_not_follow_a_redirect() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=307, headers={"Location": "http://127.0.0.1:1/elsewhere"})

    async with plain(answer) as url:
        with pytest.raises(Refused, match="answered 307"):
            await ask(a_member(url, auth="s"), s={"token": b"abc"})


async def test_prometheus_own_words_reach_the_reader() -> None:
    said = b'{"status":"error","errorType":"bad_data","error":"parse error"}'

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=400, body=said)

    async with plain(answer) as url:
        assert await ask(a_member(url)) == said


async def test_a_proxys_page_is_a_refusal_with_its_words() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=502, text="upstream sent too big header")

    async with plain(answer) as url:
        with pytest.raises(Refused, match="answered 502: upstream sent too big header"):
            await ask(a_member(url))


async def test_an_answer_ends_at_eight_mebibytes() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=b"x" * (prometheus.MAX_BYTES + 1))

    async with plain(answer) as url:
        with pytest.raises(Refused, match="larger than 8 MiB"):
            await ask(a_member(url))


async def test_silence_is_told_by_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus, "READ_S", 0.05)

    async def answer(_: web.Request) -> web.Response:
        await asyncio.sleep(0.5)
        return web.Response(body=ANSWER)

    async with plain(answer) as url:
        with pytest.raises(Unreachable, match=f"{url}/ did not answer within"):
            await ask(a_member(url))


async def test_nobody_there_is_told_by_the_address() -> None:
    with pytest.raises(Unreachable, match=r"http://127\.0\.0\.1:9/"):
        await ask(a_member("http://127.0.0.1:9"))


@pytest.mark.parametrize(
    ("member", "secrets", "reason"),
    [
        (a_member(None), {}, "PrometheusMissing"),
        (a_member("http://127.0.0.1:9", auth="s"), {}, "SecretNotFound"),
        (a_member("http://127.0.0.1:9", auth="s"), {"s": {"other": b"x"}}, "KeyNotFound"),
    ],
    ids=["no-prometheus", "no-secret", "no-key"],
)
async def test_what_is_missing_on_the_hub_has_its_own_reason(
    member: MemberCluster, secrets: dict[str, dict[str, bytes]], reason: str
) -> None:
    with pytest.raises(NotUsable) as refused:
        await ask(member, **secrets)
    assert refused.value.reason == reason
