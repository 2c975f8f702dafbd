"""What a container finds in its environment. Pure: objects it refers to are handed in.

Order as in a kubelet, later ones win: Services, envFrom, env; `$(NAME)` refers to what came before, `$$` is a
`$`, an unknown name stays as written. Source: Kubernetes' pages on environment variables of containers.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from localclouds.kube import Json, key_of

_EXPANSION = re.compile(r"\$(\$|\(([^)]*)\))")
_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['(.*)'\]")


class ConfigError(Exception):
    """The container asks for something that is not there; reported as CreateContainerConfigError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A ConfigMap or Secret (by kind) that a container's environment needs."""

    kind: str
    name: str
    optional: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a container's environment is made from, besides the container itself.

    `objects` are the ConfigMaps and Secrets found, by (kind, name); `services` those of the namespace.
    """

    pod: Json
    pod_ip: str
    host_ip: str
    services: Iterable[Json]
    api_server: tuple[str, int]
    objects: Mapping[tuple[str, str], Json]
    base: Mapping[str, str]


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace `$(NAME)` by the variable; `$$` escapes; unknown names stay as they are."""

    def value(match: re.Match[str]) -> str:
        if match[1] == "$":
            return "$"
        return variables.get(match[2], match[0])

    return _EXPANSION.sub(value, text)


def sources(container: Json) -> Iterator[Source]:
    """The objects that the container's environment refers to."""
    for entry in container.get("envFrom") or ():
        for field, kind in (("configMapRef", "configmaps"), ("secretRef", "secrets")):
            if field in entry:
                yield _source(kind, entry[field])
    for entry in container.get("env") or ():
        for field, kind in (("configMapKeyRef", "configmaps"), ("secretKeyRef", "secrets")):
            if field in (entry.get("valueFrom") or {}):
                yield _source(kind, entry["valueFrom"][field])


def container_environment(container: Json, around: Surroundings) -> dict[str, str]:
    """All variables of a container. Raises ConfigError."""
    variables = dict(around.base)
    links = around.pod["spec"].get("enableServiceLinks", True)
    variables |= service_variables(around.services if links else (), around.api_server)
    for entry in container.get("envFrom") or ():
        variables |= _whole_object(entry, around.objects)
    for entry in container.get("env") or ():
        if "valueFrom" not in entry:
            variables[entry["name"]] = expand(entry.get("value", ""), variables)
            continue
        value = _value_from(entry["valueFrom"], container, around)
        if value is not None:
            variables[entry["name"]] = value
    return variables


def service_variables(services: Iterable[Json], api_server: tuple[str, int]) -> dict[str, str]:
    """`{NAME}_SERVICE_HOST`, `{NAME}_SERVICE_PORT` (the first port) and `{NAME}_SERVICE_PORT_{PORT NAME}` for
    each Service.

    Services without a ClusterIP have none. `KUBERNETES_SERVICE_*` name the API server itself.
    """
    variables = {}
    for service in services:
        address = service["spec"].get("clusterIP")
        ports = service["spec"].get("ports")
        if not address or address == "None" or not ports:
            continue
        name = _variable(key_of(service).name)
        variables[f"{name}_SERVICE_HOST"] = address
        variables[f"{name}_SERVICE_PORT"] = str(ports[0]["port"])
        for port in ports:
            if port.get("name"):
                variables[f"{name}_SERVICE_PORT_{_variable(port['name'])}"] = str(port["port"])
    host, number = api_server
    return variables | {
        "KUBERNETES_SERVICE_HOST": host,
        "KUBERNETES_SERVICE_PORT": str(number),
        "KUBERNETES_SERVICE_PORT_HTTPS": str(number),
    }


def field_value(path: str, pod: Json, pod_ip: str, host_ip: str) -> str:
    """The value of a downward API field. Raises ConfigError for fields there are not."""
    metadata = pod["metadata"]
    found = _SUBSCRIPT.fullmatch(path)
    if found:
        return str((metadata.get(found[1]) or {}).get(found[2], ""))
    match path:
        case "metadata.name" | "metadata.namespace" | "metadata.uid":
            return str(metadata[path.removeprefix("metadata.")])
        case "metadata.labels" | "metadata.annotations":
            entries = metadata.get(path.removeprefix("metadata.")) or {}
            return "\n".join(f'{name}="{_quoted(entries[name])}"' for name in sorted(entries))
        case "spec.nodeName":
            return str(pod["spec"]["nodeName"])
        case "spec.serviceAccountName":
            return str(pod["spec"].get("serviceAccountName", "default"))
        case "status.podIP" | "status.podIPs":
            return pod_ip
        case "status.hostIP" | "status.hostIPs":
            return host_ip
    raise ConfigError(f"fieldPath {path}: the local node agent knows no such field")


def object_bytes(obj: Json) -> dict[str, bytes]:
    """The keys of a ConfigMap or Secret with their contents."""
    if obj.get("kind") == "Secret" or "type" in obj:
        return {key: base64.b64decode(value) for key, value in (obj.get("data") or {}).items()}
    plain = {key: value.encode() for key, value in (obj.get("data") or {}).items()}
    return plain | {key: base64.b64decode(value) for key, value in (obj.get("binaryData") or {}).items()}


def _source(kind: str, reference: Json) -> Source:
    return Source(kind=kind, name=reference["name"], optional=bool(reference.get("optional")))


def _whole_object(entry: Json, objects: Mapping[tuple[str, str], Json]) -> dict[str, str]:
    found = {}
    for field, kind in (("configMapRef", "configmaps"), ("secretRef", "secrets")):
        if field in entry and (obj := _object(_source(kind, entry[field]), objects)) is not None:
            for key, value in object_bytes(obj).items():
                found[entry.get("prefix", "") + key] = value.decode(errors="replace")
    return found


def _value_from(value_from: Json, container: Json, around: Surroundings) -> str | None:
    match value_from:
        case {"fieldRef": field}:
            return field_value(field["fieldPath"], around.pod, around.pod_ip, around.host_ip)
        case {"resourceFieldRef": field}:
            return _resource(container, field["resource"])
        case {"configMapKeyRef": reference}:
            return _key(_source("configmaps", reference), reference["key"], around.objects)
        case {"secretKeyRef": reference}:
            return _key(_source("secrets", reference), reference["key"], around.objects)
    raise ConfigError(f"valueFrom: {', '.join(value_from)} is not known to the local node agent")


def _key(source: Source, key: str, objects: Mapping[tuple[str, str], Json]) -> str | None:
    obj = _object(source, objects)
    values = {} if obj is None else object_bytes(obj)
    if key in values:
        return values[key].decode(errors="replace")
    if source.optional:
        return None
    raise ConfigError(f"couldn't find key {key} in {source.kind[:-1]} {source.name}")


def _object(source: Source, objects: Mapping[tuple[str, str], Json]) -> Json | None:
    obj = objects.get((source.kind, source.name))
    if obj is None and not source.optional:
        raise ConfigError(f'{source.kind[:-1]} "{source.name}" not found')
    return obj


def _resource(container: Json, resource: str) -> str:
    kind, _, name = resource.partition(".")
    value = ((container.get("resources") or {}).get(kind) or {}).get(name)
    if value is None:
        raise ConfigError(f"resourceFieldRef {resource}: the container sets none, and the node imposes none")
    return str(value)


def _variable(name: str) -> str:
    return name.upper().replace("-", "_")


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
