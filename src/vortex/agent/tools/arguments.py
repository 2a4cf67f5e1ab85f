"""Are a call's arguments what the tool's schema asks for? The few words of JSON Schema that our tools use.

Promises one line that tells a model what to change. A grammar makes calls valid where the engine is ours; other engines
answer what they like.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from vortex.agent.tools.tool import ToolError

KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,), "array": (list,),
    "object": (dict,), "null": (type(None),),
}  # fmt: skip
MAX_ARGUMENT_CHARS = 1_000_000


def read_arguments(arguments: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """JSON text to checked arguments. Raises ToolError."""
    if len(arguments) > MAX_ARGUMENT_CHARS:
        raise ToolError(f"arguments of {len(arguments)} characters; at most {MAX_ARGUMENT_CHARS}")
    try:
        found = json.loads(arguments or "{}")
    except (ValueError, RecursionError) as error:
        raise ToolError(f"the arguments are not JSON: {error}") from error
    if not isinstance(found, dict):
        raise ToolError("the arguments must be one JSON object")
    check(found, schema)
    return found


def check(arguments: Mapping[str, Any], schema: Mapping[str, Any]) -> None:
    properties: Mapping[str, Any] = schema.get("properties", {})
    missing = [name for name in schema.get("required", ()) if name not in arguments]
    if missing:
        raise ToolError(f"missing argument {missing[0]!r}; expected: {', '.join(properties)}")
    if schema.get("additionalProperties") is False:
        unknown = [name for name in arguments if name not in properties]
        if unknown:
            raise ToolError(f"unknown argument {unknown[0]!r}; expected: {', '.join(properties) or 'none'}")
    for name, value in arguments.items():
        _check_value(name, value, properties.get(name, {}))


def _check_value(name: str, value: object, rule: Mapping[str, Any]) -> None:
    kind = rule.get("type")
    if isinstance(kind, str) and kind in KINDS:
        wrong = not isinstance(value, KINDS[kind]) or (isinstance(value, bool) and kind != "boolean")
        if wrong:
            raise ToolError(f"argument {name!r} must be of type {kind}, not {type(value).__name__}")
    if "enum" in rule and value not in rule["enum"]:
        raise ToolError(f"argument {name!r} must be one of {', '.join(map(str, rule['enum']))}")
    if isinstance(value, int | float) and value < rule.get("minimum", value):
        raise ToolError(f"argument {name!r} must be at least {rule['minimum']}")
    if isinstance(value, list):
        for item in value:
            _check_value(name, item, rule.get("items", {}))
