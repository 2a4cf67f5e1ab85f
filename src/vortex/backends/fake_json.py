"""The smallest plain instance of a JSON schema, for the fake backend.

Promises a value that fits the common keywords (type, enum, const, default-free objects, arrays, anyOf, $ref, minima).
Does not do: full validation, `not`, conditionals, patterns. The real engine constrains its sampler instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vortex.errors import RequestError

DEPTH_LIMIT = 32
MOST = 10_000  # members or characters


def sample(schema: Any) -> Any:
    """An instance of `schema`. RequestError for one that is beyond this module."""
    try:
        return _sample(schema, schema, 0)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise RequestError("the fake cannot read this schema; write it plainer", code="invalid_schema") from error


def _sample(schema: Any, root: Any, depth: int) -> Any:
    """References are looked up in `root`."""
    if not isinstance(schema, Mapping) or depth > DEPTH_LIMIT:
        return None
    if "$ref" in schema:
        return _sample(_resolve(schema["$ref"], root), root, depth + 1)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    for keyword in ("anyOf", "oneOf", "allOf"):
        if schema.get(keyword):
            return _sample(schema[keyword][0], root, depth + 1)
    kind = schema.get("type", "object" if "properties" in schema else "null")
    return _of_type(kind[0] if isinstance(kind, list) else kind, schema, root, depth)


def _of_type(kind: str, schema: Mapping[str, Any], root: Any, depth: int) -> Any:
    if kind == "object":
        properties = schema.get("properties", {})
        return {name: _sample(properties.get(name, {}), root, depth + 1) for name in schema.get("required", properties)}
    if kind == "array":
        return [_sample(schema.get("items", {}), root, depth + 1) for _ in range(min(schema.get("minItems", 0), MOST))]
    if kind == "string":
        return "text".ljust(min(schema.get("minLength", 0), MOST), "x")[: schema.get("maxLength")]
    if kind in {"integer", "number"}:
        return schema.get("minimum", min(1, schema.get("maximum", 1)))
    return True if kind == "boolean" else None


def _resolve(reference: str, root: Any) -> Any:
    node = root
    for part in reference.removeprefix("#/").split("/"):
        node = node[part.replace("~1", "/").replace("~0", "~")] if part and part != "#" else node
    return node
