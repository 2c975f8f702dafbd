"""A CRD manifest into the rules of its kind: structural pruning, defaults, types and bounds, merge keys.

Not covered: CEL (`x-kubernetes-validations`) and formats; a real server checks those. Source: apiextensions
`pkg/apiserver/schema/{pruning,defaulting}`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema
import orjson

from pilotage.kube import Cause, Invalid, Object, Resource
from support.apisim.cluster import copied
from support.apisim.fields import Shape
from support.apisim.kinds import Kind

Schema = Mapping[str, Any]

MEMORY = 10_000
"""Contents remembered as valid."""


def kind_of_crd(crd: Mapping[str, Any]) -> Kind:
    """Return the rules of the (single, stored) version of a CustomResourceDefinition."""
    spec = crd["spec"]
    version = next(version for version in spec["versions"] if version["storage"])
    schema = version["schema"]["openAPIV3Schema"]
    resource = Resource(
        group=spec["group"],
        version=version["name"],
        plural=spec["names"]["plural"],
        kind=spec["names"]["kind"],
        namespaced=spec["scope"] == "Namespaced",
    )
    keyed = {"ownerReferences": ("uid",)} | dict(_keyed_lists(schema, ""))
    has_status = "status" in (version.get("subresources") or {})
    return Kind(
        resource=resource,
        has_status=has_status,
        has_generation=True,
        needs_version_on_update=True,
        default=_defaulter(schema),
        validate=_validator(schema),
        shape=Shape(keyed_lists=keyed, atomic_maps=frozenset(_atomic_maps(schema, ""))),
    )


def _defaulter(schema: Schema) -> Any:
    def default(found: Object) -> None:
        for name in ("spec", "status"):
            part = schema.get("properties", {}).get(name)
            if part is not None and name in found:
                found[name] = defaulted(pruned(found[name], part), part)
        known = {"apiVersion", "kind", "metadata", *schema.get("properties", {})}
        for name in [name for name in found if name not in known]:
            del found[name]

    return default


def pruned(value: Any, schema: Schema) -> Any:
    """Return the value without fields that the schema does not know."""
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return value
    if isinstance(value, dict) and "additionalProperties" in schema:
        inner = schema["additionalProperties"]
        return {k: pruned(v, inner) if isinstance(inner, dict) else v for k, v in value.items()}
    if isinstance(value, dict):
        known = schema.get("properties", {})
        return {name: pruned(inner, known[name]) for name, inner in value.items() if name in known}
    if isinstance(value, list) and "items" in schema:
        return [pruned(item, schema["items"]) for item in value]
    return value


def defaulted(value: Any, schema: Schema) -> Any:
    """Return the value with the schema's defaults; a null without `nullable` counts as absent."""
    if isinstance(value, list) and "items" in schema:
        return [defaulted(item, schema["items"]) for item in value]
    if not isinstance(value, dict):
        return value
    if isinstance(schema.get("additionalProperties"), dict):
        return {name: defaulted(inner, schema["additionalProperties"]) for name, inner in value.items()}
    known = schema.get("properties", {})
    result = {n: v for n, v in value.items() if v is not None or known.get(n, {}).get("nullable")}
    for name, inner in known.items():
        if name not in result and "default" in inner:
            result[name] = copied(inner["default"])
        if name in result:
            result[name] = defaulted(result[name], inner)
    return result


def _validator(schema: Schema) -> Any:
    checker = jsonschema.Draft7Validator(_plain(schema))
    # a simulation says the same thing thousands of times, and a schema takes a millisecond to walk
    known_good: set[bytes] = set()

    def validate(found: Object, old: Object | None) -> None:
        said = orjson.dumps({name: value for name, value in found.items() if name != "metadata"})
        if said in known_good:
            return
        errors = sorted(checker.iter_errors(found), key=lambda error: str(error.path))
        if errors:
            raise _refusal(found, errors)
        if len(known_good) > MEMORY:
            known_good.clear()
        known_good.add(said)

    return validate


def _refusal(found: Object, errors: list[Any]) -> Invalid:
    causes = tuple(
        Cause(
            field=".".join(str(part) for part in error.absolute_path),
            reason="FieldValueInvalid",
            message=error.message,
        )
        for error in errors
    )
    told = ", ".join(f"{cause.field}: {cause.message}" for cause in causes)
    return Invalid(f'{found["kind"]} "{found["metadata"]["name"]}" is invalid: {told}', causes=causes)


def _plain(schema: Any) -> Any:
    """Return the schema in standard JSON Schema: Kubernetes' extensions spelled out or left out."""
    if isinstance(schema, list):
        return [_plain(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    plain = {n: _plain(v) for n, v in schema.items() if not n.startswith("x-kubernetes-") and n != "format"}
    if schema.get("x-kubernetes-int-or-string") is True:
        plain = {n: v for n, v in plain.items() if n != "type"} | {"type": ["integer", "string"]}
    if schema.get("nullable") is True and isinstance(plain.get("type"), str):
        plain["type"] = [plain["type"], "null"]
    for bound, flag in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        # OpenAPI 3.0 has flags where JSON Schema has numbers
        if plain.pop(flag, False) is True:
            plain[flag] = plain.pop(bound)
    return plain


def _keyed_lists(schema: Schema, name: str, parent: str = "") -> Iterator[tuple[str, tuple[str, ...]]]:
    if schema.get("x-kubernetes-list-type") == "map":
        yield f"{parent}.{name}", tuple(schema["x-kubernetes-list-map-keys"])
    for inner_name, inner in schema.get("properties", {}).items():
        yield from _keyed_lists(inner, inner_name, name)
    if "items" in schema:
        yield from _keyed_lists(schema["items"], name, parent)


def _atomic_maps(schema: Schema, name: str) -> Iterator[str]:
    if schema.get("x-kubernetes-map-type") == "atomic":
        yield name
    for inner_name, inner in schema.get("properties", {}).items():
        yield from _atomic_maps(inner, inner_name)
    if "items" in schema:
        yield from _atomic_maps(schema["items"], name)
