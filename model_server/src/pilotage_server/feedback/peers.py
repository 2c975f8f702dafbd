"""Other clusters' collectors, as a file or a variable names them, and which of them may get labels.

A label that was posted to the wrong cluster can be handed on where two things hold: the issuing cluster's collector is
known, and the jurisdictions allow it. A cluster without jurisdictions gives only to clusters without, and a list gives
to lists that share a member: what nobody declared is not assumed. A peer whose own files cannot be read is known and
cannot be used: a token that is not there yet must not keep a pod from serving.

    {"jurisdictions": ["eu"],
     "peers": {"gcp": {"url": "https://collector.gcp.example:8090", "jurisdictions": ["eu"],
                       "credentialFile": "/pilotage/peers/gcp", "caFile": "/pilotage/peers/ca.crt"}}}
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import orjson

from pilotage_server.document import Document, Malformed, Section
from pilotage_server.feedback.settings import PEERS, FeedbackRefused
from pilotage_server.podroot import pod_path

DEFAULT_PORTS: Final = {"http": 8090, "https": 443}
MAX_PEERS: Final = 100
_PATH: Final = re.compile(r"(/[A-Za-z0-9._~-]+)*/?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One cluster's collector: where it is, and the bearer token it asks for, if any.

    `path` stands before the collector's own paths. `authorities`: certificates in PEM that TLS trusts; empty: the
    system's. `problem`: why it cannot be used now, or empty.
    """

    cluster: str
    host: str
    port: int
    path: str = ""
    is_tls: bool = False
    authorities: str = ""
    credential: str = field(default="", repr=False)
    problem: str = ""


def read_peers(source: Path | str, env: Mapping[str, str] = os.environ) -> Mapping[str, Peer]:
    """The peers labels may be handed on to, by cluster, out of a file or the JSON itself. Raises `FeedbackRefused`."""
    try:
        document = Document(orjson.loads(source if isinstance(source, str) else source.read_bytes()))
        own = _jurisdictions(document.root)
        peers = document.root.section("peers")
        found = {}
        for cluster in list(peers.plain())[:MAX_PEERS]:
            section = peers.section(cluster)
            peer, theirs = _peer(cluster, section, env), _jurisdictions(section)
            if own & theirs or not own | theirs:
                found[cluster] = peer
        document.finish()
    except OSError as error:
        raise FeedbackRefused(f"{PEERS}: {error.filename}: {error.strerror}; mount the ConfigMap of peers") from error
    except (orjson.JSONDecodeError, Malformed) as error:
        place = PEERS if isinstance(source, str) else f"{PEERS}: {source}"
        raise FeedbackRefused(f"{place}: {error}") from error
    return found


def _jurisdictions(section: Section) -> set[str]:
    return {str(one).lower() for one in section.items("jurisdictions", (), longest=50)}


def _peer(cluster: str, section: Section, env: Mapping[str, str]) -> Peer:
    url = section.text("url", longest=512)
    credential_file, ca_file = section.text("credentialFile", ""), section.text("caFile", "")
    credential_env = section.text("credentialEnv", "")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or DEFAULT_PORTS.get(parts.scheme, 0)
    except ValueError:
        host, port, parts = "", 0, urlsplit("")
    if not port or not host or parts.query or parts.fragment or not _PATH.fullmatch(parts.path):
        section.mistake("url", f"{url[:64]!r}; write http:// or https:// with host and port of the collector")
    if credential_env and (credential_file or not env.get(credential_env, "").strip()):
        section.mistake("credentialEnv", f"{credential_env[:64]!r} is not set, or credentialFile is given too")
    credential, authorities, problem = env.get(credential_env, "").strip(), "", ""
    try:
        if credential_file:
            credential = _text(credential_file, "credentialFile")
        if ca_file:
            authorities = _text(ca_file, "caFile")
    except ValueError as error:
        problem = str(error)
    return Peer(
        cluster=cluster,
        host=host,
        port=port,
        path=parts.path.rstrip("/"),
        is_tls=parts.scheme == "https",
        authorities=authorities,
        credential=credential,
        problem=problem,
    )


def _text(path: str, what: str) -> str:
    """A file's content. Raises ValueError with what it is, where, and why it cannot be used."""
    try:
        return pod_path(path).read_text(encoding="ascii").strip()
    except OSError as error:
        raise ValueError(f"{what} {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{what} {path}: not ASCII") from error
