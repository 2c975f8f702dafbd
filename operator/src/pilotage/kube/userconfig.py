"""The kubeconfig of the person at the keyboard, made self-contained: what kubectl accepts, within reason.

Here files may be read and login plugins run, because the file and the rights are the user's own; `endpoint` refuses all
that for kubeconfigs of others. The result passes through the same checks. Used by command-line tools, never by the
operator.
"""

import base64
import json
import os
import ssl
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pilotage.kube.endpoint import Endpoint, from_kubeconfig, in_cluster, in_cluster_namespace
from pilotage.kube.errors import EndpointRefused

PLUGIN_S = 120.0
"""A login plugin may open a browser; longer than this nobody looks at it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserAccess:
    """Where the user's kubectl would go: the cluster, and the namespace it would use unless told another."""

    endpoint: Endpoint
    namespace: str
    context: str


def user_access(*, kubeconfig: str = "", context: str = "", environ: Mapping[str, str] = os.environ) -> UserAccess:
    """Find the cluster as kubectl does: the given file, else KUBECONFIG, else ~/.kube/config, else the pod's own.

    Raises EndpointRefused with reasons that name the file.
    """
    paths = _paths(kubeconfig, environ)
    present = [path for path in paths if path.is_file()]
    if not present and not kubeconfig and environ.get("KUBERNETES_SERVICE_HOST"):
        return UserAccess(endpoint=in_cluster(environ), namespace=in_cluster_namespace(environ), context="in-cluster")
    if not present:
        missing = ", ".join(str(path) for path in paths)
        raise EndpointRefused((f"{missing}: no such file; name a kubeconfig with --kubeconfig or KUBECONFIG",))
    config = _merged([_loaded(path) for path in present])
    chosen = context or config.get("current-context") or ""
    endpoint = from_kubeconfig(_self_contained(config, chosen, environ), context=chosen)
    link = _body(config, "contexts", chosen, "context")
    return UserAccess(endpoint=endpoint, namespace=str(link.get("namespace") or "default"), context=chosen)


def _paths(kubeconfig: str, environ: Mapping[str, str]) -> list[Path]:
    if kubeconfig:
        return [Path(kubeconfig).expanduser()]
    listed = [part for part in environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    if listed:
        return [Path(part).expanduser() for part in listed]
    return [Path(environ.get("HOME") or Path.home()) / ".kube" / "config"]


def _loaded(path: Path) -> dict[str, Any]:
    """Return the file's content with its file references made absolute."""
    try:
        config = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise EndpointRefused((f"{path}: cannot be read: {' '.join(str(error).split())}",)) from error
    if not isinstance(config, dict):
        raise EndpointRefused((f"{path}: is no kubeconfig",))
    for section, key in (("clusters", "cluster"), ("users", "user")):
        for entry in config.get(section) or ():
            body = entry.get(key) if isinstance(entry, dict) else None
            for name in ("certificate-authority", "client-certificate", "client-key", "tokenFile"):
                if isinstance(body, dict) and body.get(name):
                    body[name] = str(path.parent / Path(body[name]).expanduser())
    return config


def _merged(configs: list[dict[str, Any]]) -> dict[str, Any]:
    """Merge as kubectl does: the first file that says something wins."""
    result: dict[str, Any] = {"current-context": ""}
    for config in configs:
        result["current-context"] = result["current-context"] or config.get("current-context") or ""
        for section in ("clusters", "users", "contexts"):
            known = result.setdefault(section, [])
            names = {entry["name"] for entry in known}
            known += [
                entry
                for entry in config.get(section) or ()
                if isinstance(entry, dict) and entry.get("name") and entry["name"] not in names
            ]
    return result


def _body(config: Mapping[str, Any], section: str, name: str, key: str) -> dict[str, Any]:
    found = [entry.get(key) for entry in config.get(section) or () if entry.get("name") == name]
    return found[0] if found and isinstance(found[0], dict) else {}


def _self_contained(config: dict[str, Any], context: str, environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the configuration with the chosen context's files read and its plugin run."""
    link = _body(config, "contexts", context, "context")
    cluster = _body(config, "clusters", str(link.get("cluster", "")), "cluster")
    user = _body(config, "users", str(link.get("user", "")), "user")
    _inline(cluster, "certificate-authority")
    if not cluster.get("certificate-authority-data"):
        cluster["certificate-authority-data"] = _system_authorities()
    _inline(user, "client-certificate")
    _inline(user, "client-key")
    if user.get("tokenFile") and not user.get("token"):
        user["token"] = _read(user["tokenFile"]).decode().strip()
    user.pop("tokenFile", None)
    if user.get("exec"):
        user |= _plugin_credential(user.pop("exec"), cluster, environ)
    if user.get("token"):
        # kubectl sends both and the server takes either; one is enough
        user.pop("client-certificate-data", None)
        user.pop("client-key-data", None)
    return config


def _inline(body: dict[str, Any], name: str) -> None:
    path = body.pop(name, None)
    if path and not body.get(f"{name}-data"):
        body[f"{name}-data"] = base64.b64encode(_read(path)).decode()


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise EndpointRefused((f"{path}: {error.strerror}, but the kubeconfig names it",)) from error


def _system_authorities() -> str:
    path = ssl.get_default_verify_paths().cafile
    return base64.b64encode(Path(path).read_bytes()).decode() if path and Path(path).is_file() else ""


def _plugin_credential(
    plugin: Mapping[str, Any], cluster: Mapping[str, Any], environ: Mapping[str, str]
) -> dict[str, str]:
    """Run a client-go credential plugin (KEP-541) and return what it says, as kubeconfig fields."""
    command = str(plugin.get("command") or "")
    version = str(plugin.get("apiVersion") or "client.authentication.k8s.io/v1")
    info: dict[str, Any] = {"apiVersion": version, "kind": "ExecCredential", "spec": {"interactive": False}}
    if plugin.get("provideClusterInfo"):
        info["spec"]["cluster"] = {
            "server": cluster.get("server"),
            "certificate-authority-data": cluster.get("certificate-authority-data"),
        }
    extra = {str(each["name"]): str(each["value"]) for each in plugin.get("env") or ()}
    try:
        done = subprocess.run(
            [command, *map(str, plugin.get("args") or ())],
            env={**environ, **extra, "KUBERNETES_EXEC_INFO": json.dumps(info)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PLUGIN_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        hint = plugin.get("installHint") or "log in as you do for kubectl"
        raise EndpointRefused((f"user.exec: {command!r} did not run: {error}; {hint}",)) from error
    if done.returncode:
        last = done.stderr.decode("utf-8", "replace").strip()[-300:]
        raise EndpointRefused((f"user.exec: {command!r} ended with {done.returncode}: {last}",))
    return _said(command, done.stdout)


def _said(command: str, output: bytes) -> dict[str, str]:
    try:
        status = json.loads(output)["status"]
    except (ValueError, KeyError, TypeError):
        raise EndpointRefused((f"user.exec: {command!r} printed no ExecCredential with a status",)) from None
    said = {"token": str(status.get("token") or "")}
    for field, name in (
        ("clientCertificateData", "client-certificate-data"),
        ("clientKeyData", "client-key-data"),
    ):
        if status.get(field):
            said[name] = base64.b64encode(str(status[field]).encode()).decode()
    return {name: value for name, value in said.items() if value}
