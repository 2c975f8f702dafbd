"""A Prometheus that only the member's API server can reach: its path, its right, and every failure on its side."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from aiohttp import web

from pilotage.api.types import MemberCluster, Metadata, PrometheusRef, ProxiedService
from pilotage.engine import prometheus
from pilotage.engine.prometheus import Prometheus
from pilotage.evidence.errors import Refused, TooLarge, Unreachable
from pilotage.kube.client import ApiClient
from support.https import Answer, serving

ANSWER = b'{"status":"success","data":{}}'


class NoSecrets:
    """None is needed."""

    namespace = "pilotage"

    def read(self, name: str) -> dict[str, bytes] | None:
        raise AssertionError(f"Secret {name} was read")

    async def ready(self, name: str) -> None:
        raise AssertionError(f"Secret {name} was read")

    def problem(self, name: str) -> str:
        return ""


def a_member(**service: str) -> MemberCluster:
    where = ProxiedService(**{"namespace": "monitoring", "name": "prometheus", "port": "9090", **service})
    return MemberCluster(
        metadata=Metadata(name="aws"), kubeconfig_secret_ref=None, prometheus=PrometheusRef(service=where)
    )


async def ask(answer: Answer, member: MemberCluster | None = None) -> bytes:
    async with serving(answer) as server, ApiClient(server.endpoint(), field_manager="pilotage") as api:
        transport = Prometheus(lambda: {"aws": member or a_member()}, NoSecrets(), lambda _: api)
        return await transport.fetch("aws", 'up{pod="a b"}', 12.0)


def answering(status: int, body: bytes) -> Answer:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, body=body)

    return answer


async def test_one_get_on_the_service_with_the_members_credential_and_the_question_unharmed() -> None:
    async def answer(request: web.Request) -> web.Response:
        wanted = "/api/v1/namespaces/monitoring/services/https:prometheus:web/proxy/prefix/api/v1/query"
        assert (request.method, request.path) == ("GET", wanted)
        assert request.headers["Authorization"] == "Bearer t"
        assert dict(request.query) == {"query": 'up{pod="a b"}', "time": "12.000", "timeout": "10s"}
        return web.Response(body=ANSWER)

    assert await ask(answer, a_member(scheme="https", port="web", path="/prefix")) == ANSWER


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (
            answering(403, b'{"kind":"Status","code":403,"message":"may not get services/proxy"}'),
            Refused,
            "install chart pilotage-member with prometheusProxy",
        ),
        (answering(404, b'{"kind":"Status","code":404,"message":"no service"}'), Refused, "9090: no service"),
        (
            answering(503, b'{"kind":"Status","code":503,"message":"no endpoints available for service"}'),
            Unreachable,
            "no endpoints available",
        ),
        (answering(400, b'{"status":"error","error":"parse error"}'), Refused, "parse error"),
        (answering(503, b'{"status":"error","error":"timed out"}'), Refused, "timed out"),
        (
            answering(422, b'{"status":"error","error":"query processing would load too many samples"}'),
            TooLarge,
            "too many samples",
        ),
        (answering(200, b"x" * (prometheus.MAX_BYTES + 1)), TooLarge, "larger than 8 MiB"),
    ],
    ids=["no-right", "no-service", "nobody-behind", "bad-question", "its-own-503", "too-many-samples", "too-large"],
)
async def test_failures_are_told_with_the_service_and_its_words(
    answer: Answer, kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=r"service monitoring/prometheus:9090") as raised:
        await ask(answer)
    assert words in str(raised.value)


async def test_without_a_connection_to_the_member_nobody_is_asked() -> None:
    not_connected: Callable[[str], None] = lambda _: None  # noqa: E731
    transport = Prometheus(lambda: {"aws": a_member()}, NoSecrets(), not_connected)

    with pytest.raises(Unreachable, match="cannot be reached now"):
        await transport.fetch("aws", "time()", None)
