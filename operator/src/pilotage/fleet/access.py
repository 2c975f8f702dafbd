"""From a MemberCluster to a client for it: Secret, kubeconfig, endpoint, each refusal with the field and the remedy.

What a kubeconfig may contain is `kube.endpoint`'s business: only server, CA and an inline credential get past it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import yaml

from pilotage.api.reasons import Reason
from pilotage.api.types import MemberCluster
from pilotage.fleet.link import NotUsable
from pilotage.kube import Api, EndpointRefused
from pilotage.kube.endpoint import Endpoint, from_kubeconfig

DEFAULT_KEYS = ("value", "kubeconfig")
"""Where a kubeconfig is looked for when the MemberCluster names no key (Cluster API's name first)."""

Connect = Callable[[str, Endpoint], AbstractAsyncContextManager[Api]]
"""A client for a member (by name) while the context lasts."""


class SecretSource(Protocol):
    """Secrets of the operator's own namespace, by name."""

    def read(self, name: str) -> dict[str, bytes] | None:
        """The Secret's data, or None when there is no such Secret (known to the best of the last look)."""
        ...

    async def ready(self, name: str) -> None:
        """Return once the Secret has been looked for, or it is known that we may not."""
        ...

    def problem(self, name: str) -> str:
        """Why the Secret cannot be looked for, or nothing."""
        ...

    @property
    def namespace(self) -> str:
        """Where the Secrets are."""
        ...


async def endpoint_of(member: MemberCluster, secrets: SecretSource) -> Endpoint:
    """Where and as whom to reach this member; raises NotUsable."""
    if member.kubeconfig_secret_ref is None:
        raise NotUsable(Reason.INVALID_SPEC, "; ".join(member.problems) or "spec.access: missing")
    reference = member.kubeconfig_secret_ref
    keys = (reference.key,) if reference.key else DEFAULT_KEYS
    content = await secret_value(secrets, reference.name, *keys, field="spec.access")
    try:
        document = yaml.safe_load(content)
    except yaml.YAMLError:
        raise NotUsable(
            Reason.KUBECONFIG_REFUSED,
            f"Secret {secrets.namespace}/{reference.name}, key {' or '.join(keys)}: not YAML; "
            "store the output of `kubectl config view --raw --minify --flatten`",
        ) from None
    try:
        return from_kubeconfig(document)
    except EndpointRefused as error:
        raise NotUsable(
            Reason.KUBECONFIG_REFUSED,
            f"Secret {secrets.namespace}/{reference.name}: {error}; "
            "use a kubeconfig with server, certificate-authority-data and a token or client certificate inline",
        ) from None


async def secret_value(secrets: SecretSource, name: str, *keys: str, field: str) -> bytes:
    """The first of the keys that a Secret has; raises NotUsable when Secret or key are missing."""
    await secrets.ready(name)
    if problem := secrets.problem(name):
        raise NotUsable(Reason.FORBIDDEN, f"{field}: {problem}; give the operator its Role from chart pilotage")
    data, key = secrets.read(name), " or ".join(keys)
    if data is None:
        raise NotUsable(
            Reason.SECRET_NOT_FOUND,
            f"{field}: Secret {name} is not in namespace {secrets.namespace}; create it there, with key {key}",
        )
    for wanted in keys:
        if wanted in data:
            return data[wanted]
    has = ", ".join(sorted(data)) or "none"
    where = f"{field}: Secret {secrets.namespace}/{name}"
    raise NotUsable(Reason.KEY_NOT_FOUND, f"{where} has no key {key} (it has: {has}); add it, or name the right one")
