"""The hub as the user may see it: our objects by name, with the user's kubeconfig and rights only.

Objects stay JSON until `pilotage.api.decode`. Every error of the client library becomes one of `cli.errors`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pilotage.api import decode
from pilotage.api.names import GROUP, VERSION
from pilotage.api.types import ModelDeployment, ModelRevision
from pilotage.cli.errors import CommandFailed, OutOfReach, Usage

Json = Mapping[str, Any]
REQUEST_S = (5, 20)
"""Connect and read timeouts of one request, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One ModelDeployment and its revisions, read together; `raw` is both as the server sent them."""

    raw: Json
    deployment: ModelDeployment
    revisions: tuple[ModelRevision, ...]


class Hub:
    """Requests to the hub; build it with `connect`."""

    def __init__(self, api: Any, namespace: str) -> None:
        self._api = api
        self.namespace = namespace

    def snapshot(self, name: str) -> Snapshot:
        """A ModelDeployment with its revisions; CommandFailed when there is none of that name."""
        with _translated(f"modeldeployments.{GROUP} {name!r} in namespace {self.namespace!r}"):
            found = self._api.get_namespaced_custom_object(
                GROUP, VERSION, self.namespace, "modeldeployments", name, _request_timeout=REQUEST_S
            )
            listed = self._list("modelrevisions", self.namespace)
        owned = [each for each in listed if _owned_by(each, found["metadata"]["uid"])]
        return Snapshot(
            raw={"deployment": found, "revisions": owned},
            deployment=decode.model_deployment(found),
            revisions=tuple(revision for each in owned if (revision := decode.model_revision(each))),
        )

    def deployments(self, all_namespaces: bool) -> tuple[ModelDeployment, ...]:
        """Every ModelDeployment of the namespace, or of all."""
        with _translated(f"modeldeployments.{GROUP}"):
            listed = self._list("modeldeployments", "" if all_namespaces else self.namespace)
        return tuple(decode.model_deployment(each) for each in listed)

    def patch(self, name: str, patch: Json) -> None:
        """Merge-patch a ModelDeployment."""
        with _translated(f"modeldeployments.{GROUP} {name!r} in namespace {self.namespace!r}"):
            self._api.patch_namespaced_custom_object(
                GROUP,
                VERSION,
                self.namespace,
                "modeldeployments",
                name,
                patch,
                _content_type="application/merge-patch+json",
                field_manager="pilotage-cli",
                _request_timeout=REQUEST_S,
            )

    def _list(self, plural: str, namespace: str) -> list[Json]:
        if namespace:
            found = self._api.list_namespaced_custom_object(
                GROUP, VERSION, namespace, plural, _request_timeout=REQUEST_S
            )
        else:
            found = self._api.list_cluster_custom_object(GROUP, VERSION, plural, _request_timeout=REQUEST_S)
        items: list[Json] = found["items"]
        return items


def connect(kubeconfig: str | None, context: str | None, namespace: str | None) -> Hub:
    """A Hub from the user's kubeconfig (or from inside a pod), as kubectl would choose it; Usage when there is none."""
    from kubernetes import client, config

    try:
        configuration = client.Configuration()
        config.load_kube_config(config_file=kubeconfig, context=context, client_configuration=configuration)
        chosen = _context_namespace(config, kubeconfig, context)
    except (config.ConfigException, OSError, ValueError) as error:
        raise Usage(f"no usable kubeconfig: {error}; set KUBECONFIG or give --kubeconfig and --context") from error
    configuration.retries = 1
    return Hub(client.CustomObjectsApi(client.ApiClient(configuration)), namespace or chosen)


def _context_namespace(config: Any, kubeconfig: str | None, context: str | None) -> str:
    contexts, active = config.list_kube_config_contexts(config_file=kubeconfig)
    found = next((each for each in contexts if each["name"] == context), active) if context else active
    return str(found["context"].get("namespace", "default"))


def _owned_by(revision: Json, uid: str) -> bool:
    return any(owner.get("uid") == uid for owner in revision["metadata"].get("ownerReferences", ()))


@contextmanager
def _translated(what: str) -> Iterator[None]:
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ApiException as error:
        raise _refused(what, error.status, str(error.reason)) from error
    except HTTPError as error:
        raise OutOfReach(f"the hub does not answer: {error}; check the cluster of your kubeconfig's context") from error


def _refused(what: str, status: int | None, reason: str) -> CommandFailed:
    match status:
        case 404:
            return CommandFailed(f"{what}: not found; `pilotage get -A` lists what there is")
        case 401:
            return Usage(f"{what}: the hub does not accept your credentials")
        case 403:
            return CommandFailed(f"{what}: your rights do not allow this; ask for the role `edit` in the namespace")
        case _:
            return CommandFailed(f"{what}: the hub answered {status} {reason}")
