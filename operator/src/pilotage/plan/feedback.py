"""What `spec.feedback` adds to pods, and the file that tells a cluster's pods of the other clusters' collectors.

Fields that are absent add nothing, so that an upgrade of the operator restarts no pod. Secrets are named here and never
read: their volumes are optional, because Kubernetes keeps a pod that waits for a volume waiting without a word in its
status, while a server that finds the folder empty says so as it ends. Which labels may travel is decided by the
MemberClusters' jurisdictions, here and once more by the server.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pilotage.api import names
from pilotage.api.types import Feedback, MemberFeedback, Relay

CREDENTIALS_PATH = "/pilotage/feedback-credentials"
PEERS_PATH = "/pilotage/feedback-peers"
PEER_TOKENS_PATH = "/pilotage/feedback-peer-tokens"
PEERS_FILE = "peers.json"
MOST_PEERS = 100
"""What the server reads; with it the ConfigMap stays below the API server's limit."""
CREDENTIALS = "PILOTAGE_FEEDBACK_CREDENTIALS_DIR"
"""What a server names as it ends because the Secret of credentials is missing or cannot be used."""
_LINES = "PILOTAGE_FEEDBACK_CREDENTIALS"

Entry = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Addition:
    """Entries for a pod's container and volumes. `replaces`: variables of the user's that may not stay beside them."""

    env: tuple[Entry, ...] = ()
    mounts: tuple[Entry, ...] = ()
    volumes: tuple[Entry, ...] = ()
    replaces: frozenset[str] = frozenset()


def for_servers(feedback: Feedback, deployment: str) -> Addition:
    """What server pods get."""
    env: list[Entry] = []
    if feedback.audit_rate:
        env.append(_variable("PILOTAGE_AUDIT_RATE", f"{feedback.audit_rate:.12g}"))
    if feedback.sealed_tokens:
        env.append(_variable("PILOTAGE_SEALED_TOKENS", "true"))
    who = _credentials(feedback)
    env += who.env
    if feedback.credentials is not None and feedback.credentials.rate is not None:
        env.append(_variable("PILOTAGE_FEEDBACK_RATE", str(feedback.credentials.rate)))
    mounts, volumes = [*who.mounts], [*who.volumes]
    if feedback.relay is not None:
        env.append(_variable("PILOTAGE_FEEDBACK_PEERS", f"{PEERS_PATH}/{PEERS_FILE}"))
        mounts.append(_mount("feedback-peers", PEERS_PATH))
        volumes.append({"name": "feedback-peers", "configMap": {"name": names.collector_name(deployment)}})
        if feedback.relay.secret_name is not None:
            mounts.append(_mount("feedback-peer-tokens", PEER_TOKENS_PATH))
            volumes.append(_secret("feedback-peer-tokens", feedback.relay.secret_name))
    return Addition(env=tuple(env), mounts=tuple(mounts), volumes=tuple(volumes), replaces=who.replaces)


def for_collectors(feedback: Feedback) -> Addition:
    """What the collector gets: who may hand labels on to it."""
    return _credentials(feedback)


def _credentials(feedback: Feedback) -> Addition:
    if feedback.credentials is None:
        return Addition()
    return Addition(
        env=(_variable(CREDENTIALS, CREDENTIALS_PATH),),
        mounts=(_mount("feedback-credentials", CREDENTIALS_PATH),),
        volumes=(_secret("feedback-credentials", feedback.credentials.secret_name),),
        replaces=frozenset({_LINES}),  # the server takes one or the other
    )


def _variable(name: str, value: str) -> Entry:
    return {"name": name, "value": value}


def _mount(name: str, path: str) -> Entry:
    return {"name": name, "mountPath": path, "readOnly": True}


def _secret(volume: str, name: str) -> Entry:
    return {"name": volume, "secret": {"secretName": name, "optional": True}}


def peer_files(
    relay: Relay | None, cluster: str, members: Mapping[str, MemberFeedback | None], *, namespace: str, deployment: str
) -> Mapping[str, str]:
    """Keys of the collector's ConfigMap for the pods of `cluster`; `members`: all clusters of the placement, by name.

    Nothing without `relay`. Otherwise always a file, if without a peer, so that peers can come without a restart.
    """
    if relay is None:
        return {}
    own = members.get(cluster) or MemberFeedback()
    files: dict[str, str] = {}
    peers: dict[str, Entry] = {}
    for name, theirs in sorted(members.items()):
        if theirs is None or not theirs.url or name == cluster or not _may_share(own, theirs):
            continue
        url = theirs.url.replace("{namespace}", namespace).replace("{model}", deployment)
        peers[name] = {"url": url, "jurisdictions": list(theirs.jurisdictions)}
        if theirs.ca_bundle:
            file = f"ca-{hashlib.sha256(theirs.ca_bundle.encode()).hexdigest()[:10]}.crt"
            files[file] = theirs.ca_bundle
            peers[name]["caFile"] = f"{PEERS_PATH}/{file}"
        if relay.secret_name is not None:
            peers[name]["credentialFile"] = f"{PEER_TOKENS_PATH}/{name}"
        if len(peers) == MOST_PEERS:
            break
    document = {"jurisdictions": list(own.jurisdictions), "peers": peers}
    return {**files, PEERS_FILE: json.dumps(document, sort_keys=True)}


def _may_share(own: MemberFeedback, theirs: MemberFeedback) -> bool:
    mine, yours = set(own.jurisdictions), set(theirs.jurisdictions)
    return bool(mine & yours) or not mine | yours
