"""What ConfigMap, Secret, downward API and projected volumes hold. Pure: objects and tokens are handed in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from localclouds.kube import Json
from localclouds.node.atomic import File
from localclouds.node.environment import ConfigError, field_value, object_bytes

_KINDS = {"configMap": ("configmaps", "name"), "secret": ("secrets", "secretName")}
_PROJECTED = {"configMap": ("configmaps", "name"), "secret": ("secrets", "name")}


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRequest:
    """A projected service account token: for whom it is valid, and for how many seconds."""

    audience: str
    seconds: int

    def body(self, pod: Json) -> Json:
        """The TokenRequest that binds the token to the pod."""
        bound = {
            "apiVersion": "v1",
            "kind": "Pod",
            "name": pod["metadata"]["name"],
            "uid": pod["metadata"]["uid"],
        }
        return {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {
                "audiences": [self.audience] if self.audience else [],
                "expirationSeconds": self.seconds,
                "boundObjectRef": bound,
            },
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token and the monotonic time at which to ask for the next one."""

    value: str
    renew_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """Everything a volume's files are made from; objects by (kind, name)."""

    objects: Mapping[tuple[str, str], Json]
    tokens: Mapping[TokenRequest, str]
    pod: Json
    pod_ip: str
    host_ip: str


def needed_objects(volume: Json) -> Iterator[tuple[str, str]]:
    """Kind and name of every object the volume shows."""
    for field, (kind, name) in _KINDS.items():
        if field in volume:
            yield kind, volume[field][name]
    for source in (volume.get("projected") or {}).get("sources") or ():
        for field, (kind, name) in _PROJECTED.items():
            if field in source:
                yield kind, source[field][name]


def needed_tokens(volume: Json) -> Iterator[TokenRequest]:
    """Every token the volume shows."""
    for source in (volume.get("projected") or {}).get("sources") or ():
        if "serviceAccountToken" in source:
            yield _token_request(source["serviceAccountToken"])


def files(volume: Json, material: Material) -> dict[str, File]:
    """The files of a volume. Raises ConfigError for an object or key that is missing and not optional."""
    for field, (kind, name) in _KINDS.items():
        if field in volume:
            source = volume[field]
            return _object_files(kind, source[name], source, source.get("defaultMode", 0o644), material)
    if "downwardAPI" in volume:
        source = volume["downwardAPI"]
        return _downward_files(source, source.get("defaultMode", 0o644), material)
    return _projected_files(volume["projected"], material)


def _projected_files(projected: Json, material: Material) -> dict[str, File]:
    mode = projected.get("defaultMode", 0o644)
    found: dict[str, File] = {}
    for source in projected.get("sources") or ():
        match source:
            case {"serviceAccountToken": token}:
                value = material.tokens[_token_request(token)]
                found[token["path"]] = File(content=value.encode(), mode=mode)
            case {"configMap": entry}:
                found |= _object_files("configmaps", entry["name"], entry, mode, material)
            case {"secret": entry}:
                found |= _object_files("secrets", entry["name"], entry, mode, material)
            case {"downwardAPI": entry}:
                found |= _downward_files(entry, mode, material)
            case _:
                raise ConfigError(f"local clouds cannot project {', '.join(source)}")
    return found


def _object_files(kind: str, name: str, source: Json, mode: int, material: Material) -> dict[str, File]:
    optional = bool(source.get("optional"))
    obj = material.objects.get((kind, name))
    if obj is None:
        if optional:
            return {}
        raise ConfigError(f'{kind[:-1]} "{name}" not found')
    values = object_bytes(obj)
    items = source.get("items")
    if not items:
        return {key: File(content=value, mode=mode) for key, value in values.items()}
    found = {}
    for item in items:
        if item["key"] in values:
            found[item["path"]] = File(content=values[item["key"]], mode=item.get("mode", mode))
        elif not optional:
            raise ConfigError(f'{kind[:-1]} "{name}" has no key {item["key"]}')
    return found


def _downward_files(source: Json, mode: int, material: Material) -> dict[str, File]:
    found = {}
    for item in source.get("items") or ():
        if "fieldRef" not in item:
            raise ConfigError(f"{item['path']}: local clouds impose no resources to tell about; use fieldRef")
        value = field_value(item["fieldRef"]["fieldPath"], material.pod, material.pod_ip, material.host_ip)
        found[item["path"]] = File(content=value.encode(), mode=item.get("mode", mode))
    return found


def _token_request(source: Json) -> TokenRequest:
    return TokenRequest(audience=source.get("audience", ""), seconds=source.get("expirationSeconds", 3600))
