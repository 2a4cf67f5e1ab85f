"""JSON schemas as grammar text: compact spelling, closed objects, and how much one token can add to what is owed.

Spelling is fixed (", " and ": ", no free white space): a small model that may write spaces for ever sometimes does.
An object with named properties that says nothing of others is read as closed, which only narrows what is valid.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

SPELLING = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
CHARS_PER_TOKEN = 2  # few, so that an estimate from text is rather too large
COMBINING = ("allOf", "anyOf", "oneOf", "if", "$ref", "not", "dependentSchemas")


def lark_json(schema: Mapping[str, Any]) -> str:
    """A Lark expression for the instances of `schema`."""
    return "%json " + json.dumps({**closed(schema), "x-guidance": SPELLING})


def object_schema(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """A schema for any object where there is none."""
    return schema or {"type": "object"}


def closed(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The same schema, its plain objects closed. Where schemas are combined, closing could contradict: left alone."""
    if '"allOf"' in json.dumps(schema):
        return dict(schema)
    return _closed(schema) if isinstance(schema, Mapping) else schema


def _closed(value: Any) -> Any:
    if isinstance(value, list):
        return [_closed(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    combined = any(keyword in value for keyword in COMBINING)
    if "properties" in value and combined:
        return dict(value)
    result = {
        key: item if key in ("enum", "const", "default", "examples") else _closed(item) for key, item in value.items()
    }
    if isinstance(value.get("properties"), Mapping) and value.get("type", "object") == "object":
        named = {"additionalProperties", "unevaluatedProperties", "patternProperties"} & set(value)
        result = result if named else {**result, "additionalProperties": False}
    return result


def growth_tokens(schema: Any) -> int:
    """By how many tokens one token may lengthen what is still owed: at most all that the schema's text names once,
    and its demands for length."""
    return len(json.dumps(schema)) // CHARS_PER_TOKEN + _demanded(schema) + 16


def _demanded(schema: Any) -> int:
    if isinstance(schema, list):
        return sum(map(_demanded, schema))
    if not isinstance(schema, Mapping):
        return 0
    own = sum(v for k in ("minItems", "minLength", "minProperties") if isinstance(v := schema.get(k), int))
    inner = sum(_demanded(value) for value in schema.values())
    return own + inner * max(1, schema["minItems"] if isinstance(schema.get("minItems"), int) else 1)
