"""One repository of an OCI registry over HTTP: blobs and manifests by digest, with the tokens it asks for.

Laws: what is read has the digest that was asked for, or is refused; nothing larger than its descriptor is read; TLS
unless the host is this machine or the caller says otherwise; a credential goes to the registry and to the realm it
names, over TLS, and into no message. Source: OCI distribution specification 1.1, distribution's token authentication.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pilotage_server.bundle.errors import Refused

TIMEOUT_S: Final = 60.0
MAX_MANIFEST: Final = 4 * 2**20
_REFERENCE: Final = re.compile(
    r"(?P<host>[A-Za-z0-9.-]+(:\d+)?)/(?P<repository>[a-z0-9]+([._/-]+[a-z0-9]+)*)"
    r"(:(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_CHALLENGE: Final = re.compile(r'(\w+)="([^"]*)"')
_LOCAL: Final = re.compile(r"(localhost|127\.\d+\.\d+\.\d+)(:\d+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """`host/repository[:tag][@sha256:…]`."""

    host: str
    repository: str
    tag: str | None
    digest: str | None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read a reference; raises `Refused`."""
        found = _REFERENCE.fullmatch(text)
        if found is None or not ("." in found["host"] or ":" in found["host"] or found["host"] == "localhost"):
            raise Refused(text, "is no image reference", "write host/repository:tag or host/repository@sha256:…")
        return cls(host=found["host"], repository=found["repository"], tag=found["tag"], digest=found["digest"])

    def pinned(self, digest: str) -> str:
        """The reference people put into `spec.model.bundle`: with its tag, if there is one, and the digest."""
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.host}/{self.repository}{tag}@{digest}"


def digest_of(content: bytes) -> str:
    """`sha256:` and the digest of bytes."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class Registry:
    """The repository of one reference. Owns no connection: each call opens its own."""

    def __init__(self, reference: Reference, *, plain_http: bool = False, login: tuple[str, str] | None = None) -> None:
        self._reference = reference
        scheme = "http" if plain_http or _LOCAL.fullmatch(reference.host) else "https"
        self._base = f"{scheme}://{reference.host}/v2/{reference.repository}"
        self._basic = _basic(login) if login else None
        self._authorization: str | None = None

    def has_blob(self, digest: str) -> bool:
        """Tell whether the repository holds a blob."""
        return self._send("HEAD", f"{self._base}/blobs/{digest}", missing_ok=True) is not None

    def put_blob(self, content: bytes) -> None:
        """Upload a blob in one piece; the registry checks the digest, and so do we by asking for it afterwards."""
        opened = self._send("POST", f"{self._base}/blobs/uploads/", b"")
        place = opened.headers.get("location", "") if opened else ""
        url = urllib.parse.urljoin(f"{self._base}/blobs/uploads/", place)
        url += ("&" if "?" in url else "?") + urllib.parse.urlencode({"digest": digest_of(content)})
        self._send("PUT", url, content, {"content-type": "application/octet-stream"})

    def put_manifest(self, content: bytes, media_type: str, name: str) -> None:
        """Write a manifest under a tag or its digest."""
        self._send("PUT", f"{self._base}/manifests/{name}", content, {"content-type": media_type})

    def manifest(self, name: str, accept: str) -> bytes:
        """Read the manifest with a tag or a digest; for a digest the content is proven."""
        found = self._send("GET", f"{self._base}/manifests/{name}", headers={"accept": accept}, cap=MAX_MANIFEST)
        assert found is not None, "missing pages raise unless they are allowed to be"
        if name.startswith("sha256:"):
            _prove(found.body, name)
        return found.body

    def blob(self, digest: str, size: int) -> bytes:
        """Read a blob and prove its digest."""
        found = self._send("GET", f"{self._base}/blobs/{digest}", cap=size)
        assert found is not None, "missing pages raise unless they are allowed to be"
        _prove(found.body, digest)
        return found.body

    def _send(
        self,
        method: str,
        url: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        cap: int = MAX_MANIFEST,
        missing_ok: bool = False,
    ) -> _Answer | None:
        for attempt in (1, 2):
            sent = dict(headers or {})
            if self._authorization:
                sent["authorization"] = self._authorization
            try:
                return _ask(method, url, body, sent, cap)
            except urllib.error.HTTPError as error:
                if error.code == 404 and missing_ok:
                    return None
                if error.code != 401 or attempt == 2:
                    raise self._refusal(method, url, error) from error
                self._authorization = self._authorize(error.headers.get("www-authenticate", ""))
            except OSError as error:  # URLError and timeouts among them
                reason = getattr(error, "reason", error)
                remedy = "check the host and your network"
                raise Refused(self._reference.host, f"cannot be reached ({reason})", remedy) from error
        raise AssertionError("the second attempt returns or raises")

    def _authorize(self, challenge: str) -> str:
        """Answer a 401: basic credentials, or a token from the realm it names. Raises `Refused`."""
        kind, asked = challenge.split(" ")[0].lower(), dict(_CHALLENGE.findall(challenge))
        if kind == "basic" and self._basic:
            return self._basic
        if kind != "bearer" or "realm" not in asked:
            raise self._no_login()
        query = {"scope": f"repository:{self._reference.repository}:pull,push"} | {
            key: asked[key] for key in ("service", "scope") if key in asked
        }
        url = f"{asked['realm']}?{urllib.parse.urlencode(query)}"
        if not (url.startswith("https://") or self._base.startswith("http://")):
            raise Refused(self._reference.host, f"its token realm {asked['realm']!r} is not TLS", "ask its operator")
        headers = {"authorization": self._basic} if self._basic else {}
        try:
            answer: dict[str, Any] = json.loads(_ask("GET", url, None, headers, MAX_MANIFEST).body)
        except (OSError, ValueError) as error:
            raise self._no_login() from error
        return f"Bearer {answer.get('token') or answer.get('access_token')}"

    def _no_login(self) -> Refused:
        remedy = "log in with docker or podman, or set PILOTAGE_REGISTRY_USER and PILOTAGE_REGISTRY_PASSWORD"
        return Refused(self._reference.host, "asks for a login", remedy)

    def _refusal(self, method: str, url: str, error: urllib.error.HTTPError) -> Refused:
        try:
            told = json.loads(error.read(65_536))["errors"][0]
            text = f"{told.get('code', '')}: {told.get('message', '')}"
        except (ValueError, LookupError, TypeError, AttributeError):
            text = error.reason
        path = urllib.parse.urlsplit(url).path
        remedies = {401: "check your login", 403: "ask for the right to push there", 404: "check repository and tag"}
        remedy = remedies.get(error.code, "try again; the registry's log says more")
        return Refused(self._reference.host, f"{method} {path} answered {error.code} ({text})", remedy)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    headers: Mapping[str, str]
    body: bytes


def find_login(host: str, env: Mapping[str, str] = os.environ) -> tuple[str, str] | None:
    """Credentials for a host: PILOTAGE_REGISTRY_USER and _PASSWORD, else what docker or podman wrote down."""
    if env.get("PILOTAGE_REGISTRY_USER"):
        return env["PILOTAGE_REGISTRY_USER"], env.get("PILOTAGE_REGISTRY_PASSWORD", "")
    home = Path(env.get("HOME", "/"))
    folders = [Path(env["DOCKER_CONFIG"])] if env.get("DOCKER_CONFIG") else [home / ".docker"]
    files = [folder / "config.json" for folder in folders] + [home / ".config/containers/auth.json"]
    for file in files:
        try:
            written = json.loads(file.read_text())["auths"][host]["auth"]
            user, _, password = base64.b64decode(written).decode().partition(":")
        except (OSError, ValueError, LookupError, TypeError):
            continue
        return user, password
    return None


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows registries to where they keep blobs, without taking the login along and never from TLS to plain HTTP."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if req.full_url.startswith("https://") and not newurl.startswith("https://"):
            raise Refused(req.host, "redirects to an address without TLS", "ask its operator")
        following = super().redirect_request(req, fp, code, msg, headers, newurl)
        if following is not None and following.host != req.host:
            following.remove_header("Authorization")
        return following


_OPENER: Final = urllib.request.build_opener(_Redirects)


def _ask(method: str, url: str, body: bytes | None, headers: Mapping[str, str], cap: int) -> _Answer:
    request = urllib.request.Request(url, data=body, headers=dict(headers), method=method)  # noqa: S310  http(s) by construction
    with _OPENER.open(request, timeout=TIMEOUT_S) as response:
        content = response.read(cap + 1) if method != "HEAD" else b""
        if len(content) > cap:
            raise Refused(url, f"is larger than {cap} bytes", "the registry holds something else under this name")
        return _Answer(headers={name.lower(): value for name, value in response.headers.items()}, body=content)


def _prove(content: bytes, digest: str) -> None:
    if digest_of(content) != digest:
        raise Refused(digest, "the registry sent other content under this digest", "do not use this registry")


def _basic(login: tuple[str, str]) -> str:
    return "Basic " + base64.b64encode(f"{login[0]}:{login[1]}".encode()).decode()
