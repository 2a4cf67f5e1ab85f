"""JSON schemas as grammar text: compact spelling, closed objects, and how much one token can add to what is owed.

Spelling is fixed (", " and ": ", no free white space): a small model that may write spaces for ever sometimes does.
An object with named properties that says nothing of others is read as closed, which only narrows what is valid.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from typing import Any

SPELLING = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
CHARS_PER_TOKEN = 2  # few, so that an estimate from text is rather too large
COMBINING = ("allOf", "anyOf", "$ref")
PLAIN_OBJECT = {"type", "properties", "required", "title", "description", "default"}
MAX_MERGED = 16  # members of one `allOf`


def lark_json(schema: Mapping[str, Any]) -> str:
    """A Lark expression for the instances of `schema`."""
    return "%json " + json.dumps({**closed(schema), "x-guidance": SPELLING})


def object_schema(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """A schema for any object where there is none."""
    return schema or {"type": "object"}


def closed(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The same schema, its plain objects closed. What is combined with other schemas stays open: closing one of two
    that must both fit would contradict."""
    merged = _merged(schema, schema)
    opened = _combined_references(merged)
    result = _closed(merged, "#", opened, is_open=False)
    return dict(result) if isinstance(result, Mapping) else {}


def _merged(value: Any, root: Mapping[str, Any]) -> Any:
    """`allOf` over plain objects of different properties as one object."""
    if isinstance(value, list):
        return [_merged(item, root) for item in value]
    if not isinstance(value, Mapping):
        return value
    result = {key: item if key in ("enum", "const") else _merged(item, root) for key, item in value.items()}
    members = result.get("allOf")
    if not isinstance(members, list) or not 0 < len(members) <= MAX_MERGED:
        return result
    rest = {key: item for key, item in result.items() if key != "allOf"}
    if not rest and len(members) == 1 and isinstance(members[0], Mapping):
        return members[0]
    parts = [_target(member, root) for member in members]
    objects = [part for part in [*parts, rest] if isinstance(part, Mapping)]
    has_all = len(objects) == len(parts) + 1 and all(_is_plain(part) for part in [*parts, {"type": "object", **rest}])
    names = [name for part in objects for name in part.get("properties", {})]
    if not has_all or len(names) != len(set(names)):
        return result
    properties = dict(itertools.chain.from_iterable(part.get("properties", {}).items() for part in objects))
    required = list(dict.fromkeys(name for part in objects for name in part.get("required", [])))
    return {**rest, "type": "object", "properties": properties, "required": required}


def _is_plain(part: Any) -> bool:
    inner = set(part) - {"$defs", "definitions"} if isinstance(part, Mapping) else {""}
    return inner <= PLAIN_OBJECT and isinstance(part.get("properties", {}), Mapping) and part.get("type") == "object"


def _target(member: Any, root: Mapping[str, Any]) -> Any:
    """What a lone local reference into the definitions names."""
    if isinstance(member, Mapping) and set(member) == {"$ref"}:
        _, _, place = str(member["$ref"]).partition("#/")
        group, _, name = place.partition("/")
        return root.get(group, {}).get(name, member) if group in ("$defs", "definitions") else member
    return member


def _combined_references(schema: Any) -> set[str]:
    """References that stand in an `allOf` or beside other keywords: their objects stay open."""
    found: set[str] = set()
    waiting = [schema]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, Mapping):
            beside = {"properties", "allOf", "anyOf"} & set(value)
            if "$ref" in value and beside:
                found.add(str(value["$ref"]))
            for keyword in ("allOf", "anyOf") if "properties" in value or "allOf" in value else ():
                members = value.get(keyword, [])
                found |= {str(member["$ref"]) for member in members if isinstance(member, Mapping) and "$ref" in member}
            waiting += [item for key, item in value.items() if key not in ("enum", "const")]
    return found


def _closed(value: Any, place: str, opened: set[str], *, is_open: bool) -> Any:
    """is_open: what holds `value` combines it with others, so that its own object must not be closed."""
    if isinstance(value, list):
        return [_closed(item, f"{place}/{i}", opened, is_open=is_open) for i, item in enumerate(value)]
    if not isinstance(value, Mapping):
        return value
    is_combined = is_open or place in opened or ("properties" in value and any(k in value for k in COMBINING))
    result: dict[str, Any] = {}
    for key, item in value.items():
        here = f"{place}/{key}"
        if key in ("enum", "const"):
            result[key] = item
        elif key in ("properties", "patternProperties", "$defs", "definitions") and isinstance(item, Mapping):
            result[key] = {n: _closed(one, f"{here}/{n}", opened, is_open=False) for n, one in item.items()}
        else:
            combines = key == "allOf" or (key == "anyOf" and ("allOf" in value or is_combined))
            result[key] = _closed(item, here, opened, is_open=combines)
    if not is_combined and isinstance(value.get("properties"), Mapping) and _may_be_object(value):
        named = {"additionalProperties", "patternProperties"} & set(value)
        if not named:
            undeclared: dict[str, Any] = {
                name: {} for name in value.get("required", []) if name not in value["properties"]
            }
            result["properties"] = {**result["properties"], **undeclared}
            result["additionalProperties"] = False
    return result


def _may_be_object(value: Mapping[str, Any]) -> bool:
    types = value.get("type", "object")
    return "object" in ([types] if isinstance(types, str) else types)


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


def least_bytes(schema: Any) -> int:
    """Bytes that every instance has at least, as far as lengths and required names tell; references count nothing."""
    if not isinstance(schema, Mapping) or "$ref" in schema:
        return 0
    alternatives = [least_bytes(member) for member in schema.get("anyOf", ())]
    parts = [least_bytes(member) for member in schema.get("allOf", ())]
    own = 0
    if schema.get("type") == "string":
        own = schema.get("minLength", 0)
    elif schema.get("type") == "array":
        own = schema.get("minItems", 0) * (least_bytes(schema.get("items")) + 2)
    elif schema.get("type") == "object":
        properties = schema.get("properties", {})
        own = sum(len(name) + 4 + least_bytes(properties.get(name)) for name in schema.get("required", ()))
        own = max(own, schema.get("minProperties", 0) * 4)
    return max([own, *parts, min(alternatives, default=0)])
