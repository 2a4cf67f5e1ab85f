"""JSON schemas changed at random: an answer that parses and (as far as enforced) fits, or a RequestError."""

from __future__ import annotations

import json
import random
from contextlib import suppress
from typing import Any

import jsonschema
import pytest

from tests.decode.structure.test_structured import STRUCTURED, answer, ask
from tests.fuzz.cases import mutated, rounds, within
from vortex.errors import RequestError
from vortex.types import ToolSpec

HONEST: list[dict[str, Any]] = [
    {
        "type": "object",
        "properties": {
            "name": {"type": "string", "minLength": 1, "maxLength": 20, "pattern": "^[a-z]+$"},
            "mail": {"anyOf": [{"type": "string", "format": "email"}, {"type": "null"}]},
            "age": {"type": "integer", "minimum": 0, "exclusiveMaximum": 150, "multipleOf": 1},
            "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 1, "uniqueItems": True},
        },
        "required": ["name", "age"],
        "additionalProperties": False,
    },
    {"$defs": {"n": {"type": "object", "properties": {"v": {"type": "number"}, "next": {"$ref": "#/$defs/n"}}}},
     "allOf": [{"$ref": "#/$defs/n"}, {"type": "object", "properties": {"k": {"const": 1}}, "required": ["k"]}]},
    {"oneOf": [{"type": "object", "properties": {"kind": {"const": k}}, "required": ["kind"]} for k in "ab"]},
    {"type": "object", "patternProperties": {"^x": {"type": "boolean"}}, "propertyNames": {"pattern": "^x"},
     "minProperties": 1, "if": {"required": ["xa"]}, "then": {"maxProperties": 3}},
    {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "items": False, "title": "t"},
]  # fmt: skip


def check(seed: int) -> None:
    draw = random.Random(seed)
    schema = mutated(draw.choice(HONEST), draw)
    if not isinstance(schema, dict):
        return
    with within(30, seed):
        is_strict = draw.random() < 0.5
        with suppress(RequestError):
            constraint = STRUCTURED.constrain(ask(json_schema=schema, strict_schema=is_strict), 400)
            value = json.loads(answer(constraint, 400, seed))
            if not constraint.notes:
                _must_fit(value, schema)
        tools = (ToolSpec(name="odd", parameters=schema), ToolSpec(name="plain"))
        assert STRUCTURED.constrain(ask(tools=tools, tool_choice="auto"), 400) is not None, "tools are never refused"


def _must_fit(value: Any, schema: dict[str, Any]) -> None:
    """Where the schema is one that jsonschema can read at all."""
    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError:
        return
    jsonschema.Draft202012Validator(schema or {"type": "object"}).validate(value)


def test_no_schema_breaks_anything() -> None:
    for seed in rounds(40):
        check(seed)


@pytest.mark.long
def test_no_schema_breaks_anything_for_longer() -> None:
    for seed in rounds(1500):
        check(seed)
