"""Other clusters' collectors, as a file or a variable names them, and which of them may get labels.

A label that was posted to the wrong cluster can be handed on where two things hold: the issuing cluster's collector is
known, and the jurisdictions allow it. A cluster without jurisdictions gives only to clusters without, and a list gives
to lists that share a member: what nobody declared is not assumed.

    {"jurisdictions": ["eu"],
     "peers": {"gcp": {"url": "https://collector.gcp.example:8090", "jurisdictions": ["eu"],
                       "credentialFile": "/pilotage/peers/gcp", "caFile": "/pilotage/peers/ca.crt"}}}
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import orjson

from pilotage_server.document import Document, Malformed, Section
from pilotage_server.feedback.settings import PEERS, FeedbackRefused
from pilotage_server.podroot import pod_path

DEFAULT_PORT: Final = 8090
MAX_PEERS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One cluster's collector: where it is, and the bearer token it asks for, if any."""

    cluster: str
    host: str
    port: int
    tls: ssl.SSLContext | None
    credential: str


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
    except (orjson.JSONDecodeError, Malformed, ssl.SSLError) as error:
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
        host, port = parts.hostname or "", parts.port or DEFAULT_PORT
    except ValueError:
        host, port, parts = "", 0, urlsplit("")
    if parts.scheme not in ("http", "https") or not host or parts.path.strip("/") or parts.query:
        section.mistake("url", f"{url[:64]!r}; write http:// or https:// with host and port of the collector")
    credential = pod_path(credential_file).read_text(encoding="ascii").strip() if credential_file else ""
    if credential_env:
        credential = env.get(credential_env, "").strip()
        if not credential or credential_file:
            section.mistake("credentialEnv", f"{credential_env[:64]!r} is not set, or credentialFile is given too")
    tls = None
    if parts.scheme == "https":
        tls = ssl.create_default_context(cafile=str(pod_path(ca_file)) if ca_file else None)
    return Peer(cluster=cluster, host=host, port=port, tls=tls, credential=credential)
