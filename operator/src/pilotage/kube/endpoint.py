"""Which cluster, whom to trust there, and who we are: a kubeconfig reduced to what a client needs, or
refused.

A kubeconfig from a Secret is written by somebody else. It must not make the operator run programs, read
files, skip verification or speak through strangers, so only an inline CA, an https address and an inline
credential are taken, and everything else is refused with all reasons at once (as Kueue does,
`multikueuecluster.go:960-1020`). No I/O but for `in_cluster`, which reads where a pod's service account is
mounted.
"""

import base64
import binascii
import os
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from pilotage.kube.errors import EndpointRefused

SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"

_REFUSED_CLUSTER_FIELDS = {
    "certificate-authority": "names a file; put the CA itself into certificate-authority-data",
    "insecure-skip-tls-verify": "switches verification off; give certificate-authority-data instead",
    "proxy-url": "sends the credential through a proxy; remove it",
}
_REFUSED_USER_FIELDS = {
    "exec": "would run a program in the operator; use a ServiceAccount token",
    "auth-provider": "would run a login plugin in the operator; use a ServiceAccount token",
    "tokenFile": "names a file; put the token itself into token",
    "client-certificate": "names a file; put the certificate itself into client-certificate-data",
    "client-key": "names a file; put the key itself into client-key-data",
    "username": "is basic authentication, which Kubernetes removed; use a ServiceAccount token",
    "password": "is basic authentication, which Kubernetes removed; use a ServiceAccount token",
    "as": "impersonates; give the credential that has the rights itself",
    "as-uid": "impersonates; give the credential that has the rights itself",
    "as-groups": "impersonates; give the credential that has the rights itself",
    "as-user-extra": "impersonates; give the credential that has the rights itself",
}
_KNOWN_CLUSTER_FIELDS = frozenset(
    {"server", "certificate-authority-data", "tls-server-name", "disable-compression", "extensions"}
)
_KNOWN_USER_FIELDS = frozenset({"token", "client-certificate-data", "client-key-data", "extensions"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A bearer token as it stands."""

    value: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFile:
    """A bearer token that is renewed in a file, as kubelets do; read anew by the client."""

    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCertificate:
    """A certificate chain and its key, both PEM."""

    certificate: str = field(repr=False)
    key: str = field(repr=False)


Credential: TypeAlias = Token | TokenFile | ClientCertificate


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """All a client needs. `server` is https without a trailing slash, `ca` one or more PEM certificates."""

    server: str
    ca: str = field(repr=False)
    credential: Credential
    tls_server_name: str = ""


def from_kubeconfig(config: object, *, context: str = "") -> Endpoint:
    """Return the endpoint of a parsed kubeconfig's current (or named) context. Raises EndpointRefused."""
    reasons: list[str] = []
    if not isinstance(config, Mapping):
        raise EndpointRefused(("the kubeconfig is no mapping; give the whole document that kubectl reads",))
    chosen = context or config.get("current-context") or ""
    if not chosen:
        raise EndpointRefused(("current-context: is empty; name the context to use",))
    link = _entry(config, "contexts", chosen, "context", reasons)
    cluster = _entry(config, "clusters", str(link.get("cluster", "")), "cluster", reasons) if link else {}
    user = _entry(config, "users", str(link.get("user", "")), "user", reasons) if link else {}
    if reasons:
        raise EndpointRefused(tuple(reasons))
    reasons += _complaints("cluster", cluster, _REFUSED_CLUSTER_FIELDS, _KNOWN_CLUSTER_FIELDS)
    reasons += _complaints("user", user, _REFUSED_USER_FIELDS, _KNOWN_USER_FIELDS)
    server = _server(cluster.get("server"), reasons)
    ca = _authority(cluster.get("certificate-authority-data"), reasons)
    credential = _credential(user, reasons)
    if reasons or credential is None:
        raise EndpointRefused(tuple(reasons))
    name = str(cluster.get("tls-server-name") or "")
    return Endpoint(server=server, ca=ca, credential=credential, tls_server_name=name)


def in_cluster(environ: Mapping[str, str] = os.environ) -> Endpoint:
    """Return the endpoint of the pod we run in. Raises EndpointRefused when there is no service account."""
    reasons: list[str] = []
    host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "")
    if not host or not port:
        reasons.append(
            "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT: not set; this is no pod, give a kubeconfig"
        )
    folder = service_account_folder(environ)
    try:
        ca = (folder / "ca.crt").read_text()
        (folder / "token").read_text()
    except OSError as error:
        ca = ""
        reasons.append(f"{error.filename}: {error.strerror}; set automountServiceAccountToken on the pod")
    if reasons:
        raise EndpointRefused(tuple(reasons))
    address = f"[{host}]" if ":" in host else host
    return Endpoint(server=f"https://{address}:{port}", ca=ca, credential=TokenFile(path=folder / "token"))


def in_cluster_namespace(environ: Mapping[str, str] = os.environ) -> str:
    """Return the namespace of the pod we run in. Raises EndpointRefused when there is no service account."""
    path = service_account_folder(environ) / "namespace"
    try:
        return path.read_text().strip()
    except OSError as error:
        raise EndpointRefused((f"{path}: {error.strerror}; this is no pod, name the namespace",)) from error


def service_account_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where the service account is mounted, below PILOTAGE_POD_ROOT in pods without mount namespaces."""
    return Path(environ.get("PILOTAGE_POD_ROOT") or "/") / SERVICE_ACCOUNT.lstrip("/")


def _entry(config: Mapping[str, Any], section: str, name: str, key: str, reasons: list[str]) -> Mapping[str, Any]:
    """Return the named entry of a kubeconfig's list, or an empty mapping and a reason."""
    entries = config.get(section)
    found = (
        [e for e in entries if isinstance(e, Mapping) and e.get("name") == name] if isinstance(entries, list) else []
    )
    body = found[0].get(key) if len(found) == 1 else None
    if isinstance(body, Mapping):
        return body
    problem = f"{len(found)} entries of that name" if len(found) > 1 else "no such entry"
    reasons.append(f"{section}[{name}]: {problem}; there must be exactly one, with a {key}")
    return {}


def _complaints(
    section: str, given: Mapping[str, Any], refused: Mapping[str, str], known: frozenset[str]
) -> Iterator[str]:
    for name, value in given.items():
        if name in refused:
            if value:
                yield f"{section}.{name}: {refused[name]}"
        elif name not in known:
            yield f"{section}.{name}: is not known here; remove it"


def _server(value: object, reasons: list[str]) -> str:
    """Return the address without a trailing slash; add reasons for what is not a plain https address."""
    text = value if isinstance(value, str) else ""
    try:
        parts = urlsplit(text)
        port_is_valid = parts.port is None or parts.port > 0
    except ValueError:
        reasons.append(f"cluster.server: {text!r} is not an address; write https://host:port")
        return ""
    if parts.scheme != "https":
        reasons.append(f"cluster.server: {text!r} is not https; the credential would travel in the clear")
    elif not parts.hostname or not port_is_valid:
        reasons.append(f"cluster.server: {text!r} is not an address; write https://host:port")
    if parts.username is not None or parts.query or parts.fragment:
        reasons.append("cluster.server: carries more than scheme, host, port and path; remove the rest")
    return text.rstrip("/")


def _authority(value: object, reasons: list[str]) -> str:
    """Return the CA as PEM; add a reason unless it holds certificates that OpenSSL takes."""
    if not value:
        reasons.append("cluster.certificate-authority-data: is missing; the system's authorities are not trusted here")
        return ""
    ca = _decoded(value)
    try:
        ssl.create_default_context(cadata=ca or "")
    except (ssl.SSLError, ValueError):
        ca = None
    if not ca:
        reasons.append("cluster.certificate-authority-data: is no certificate; give base64 of PEM")
        return ""
    return ca


def _credential(user: Mapping[str, Any], reasons: list[str]) -> Credential | None:
    token = user.get("token")
    pair = (user.get("client-certificate-data"), user.get("client-key-data"))
    if token and any(pair):
        reasons.append("user: holds a token and a client certificate; keep one, so that it is clear who we are")
        return None
    if token:
        return _token(token, reasons)
    if all(pair):
        certificate, key = (_decoded(part) for part in pair)
        if certificate and key and "-----BEGIN" in certificate and "-----BEGIN" in key:
            return ClientCertificate(certificate=certificate, key=key)
        reasons.append("user.client-certificate-data, client-key-data: are no PEM; give base64 of PEM")
        return None
    if any(pair):
        reasons.append("user: holds one of client-certificate-data and client-key-data; both are needed")
    elif not any(user.get(name) for name in _REFUSED_USER_FIELDS):
        reasons.append("user: holds no credential; give token, or client-certificate-data with client-key-data")
    return None


def _token(value: object, reasons: list[str]) -> Token | None:
    text = value.strip() if isinstance(value, str) else ""
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        reasons.append("user.token: holds characters that no bearer token has; paste it again")
        return None
    return Token(value=text)


def _decoded(value: object) -> str | None:
    try:
        return base64.b64decode("".join(str(value).split()), validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        return None
