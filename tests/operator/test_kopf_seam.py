"""kopf does what it is here for and nothing more: it watches, logs in, owns the signals, and writes nothing."""

from __future__ import annotations

import ast
import itertools
from pathlib import Path

import kopf
import pytest

from pilotage.hub import handlers
from pilotage.hub.kinds import KINDS
from pilotage.hub.store import HubStore
from pilotage.kube.endpoint import ClientCertificate, Endpoint, Token, TokenFile

SOURCE = Path(handlers.__file__).parents[1]


def settings() -> kopf.OperatorSettings:
    found = kopf.OperatorSettings()
    handlers.configure(found)
    return found


def test_only_one_module_imports_kopf() -> None:
    importing = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.partition(".")[0] == "kopf" for name in names):
                importing.add(path.relative_to(SOURCE).as_posix())
    assert importing == {"hub/handlers.py"}


def test_no_handler_is_stateful() -> None:
    """The storages that remember nothing are only legal without stateful handlers."""
    source = ast.parse(Path(handlers.__file__).read_text())
    used = {node.attr for node in ast.walk(source) if isinstance(node, ast.Attribute) and _is_kopf_on(node.value)}
    assert used == {"event", "login", "cleanup"}


def _is_kopf_on(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "on"


def test_an_outage_never_ends_the_process() -> None:
    backoffs = settings().networking.error_backoffs
    assert isinstance(backoffs, handlers.EndlessBackoff)
    for _ in range(2):
        first = list(itertools.islice(iter(backoffs), 500))
        assert max(first) <= 30.0
        assert min(first) > 0.0


def test_kopf_neither_posts_nor_peers_nor_scans() -> None:
    found = settings()
    assert not found.posting.enabled
    assert found.peering.standalone
    assert found.scanning.disabled
    assert str(found.watching.server_timeout).isdigit(), "the API server answers 400 to a float"
    assert found.queueing.worker_limit is None


@pytest.mark.parametrize("kind", KINDS, ids=str)
async def test_what_kopf_hears_is_in_the_store(kind: object) -> None:
    store = HubStore()
    observe = handlers._observer(store, kind)  # type: ignore[arg-type]
    found = {"metadata": {"name": "a", "namespace": "", "uid": "u", "resourceVersion": "5"}, "spec": {}}
    heard: list[bool] = []
    store.listen(lambda _kind, _key, listed: heard.append(listed))
    await observe(event={"type": None, "object": found})
    await observe(event={"type": "DELETED", "object": found})
    assert heard == [True, False]


@pytest.mark.parametrize(
    ("credential", "expected"),
    [
        (Token(value="t"), {"token": "t"}),
        (ClientCertificate(certificate="c", key="k"), {"certificate_data": "c", "private_key_data": "k"}),
    ],
    ids=["token", "certificate"],
)
def test_the_endpoint_in_kopfs_words(credential: Token | ClientCertificate, expected: dict[str, str]) -> None:
    info = handlers.connection_info(Endpoint(server="https://hub", ca="ca", credential=credential))
    assert (info.server, info.ca_data) == ("https://hub", "ca")
    assert {name: getattr(info, name) for name in expected} == expected
    assert not info.insecure


def test_a_mounted_token_is_read_again_before_it_expires(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("first\n")
    endpoint = Endpoint(server="https://hub", ca="ca", credential=TokenFile(path=path))
    info = handlers.connection_info(endpoint)
    assert info.token == "first"
    assert info.expiration is not None
    path.write_text("second\n")
    assert handlers.connection_info(endpoint).token == "second"
