"""JSON schemas in requests: response formats and tools, with caps on their depth and size."""

from __future__ import annotations

import json
from typing import Any, Literal

import orjson
from pydantic import Field

from vortex.errors import RequestError
from vortex.server.bodies.reading import Part
from vortex.server.options import Limits
from vortex.types import ToolSpec

NAME_PATTERN = r"^[a-zA-Z0-9_-]{1,128}$"
NAME = Field(pattern=NAME_PATTERN)


class JsonSchema(Part):
    name: str = NAME
    description: str | None = None
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")
    strict: bool | None = None


class ResponseFormat(Part):
    """`schema` beside the type is how llama.cpp and others spell it."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")


class Function(Part):
    name: str = NAME
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Part):
    type: Literal["function"]
    function: Function


class NamedFunction(Part):
    name: str


class NamedTool(Part):
    type: Literal["function"]
    function: NamedFunction


def schema_of(response_format: ResponseFormat | None, limits: Limits) -> tuple[dict[str, Any] | None, bool]:
    """The schema an answer must fit ({} for any JSON object, None for text), and whether it is strict."""
    if response_format is None or response_format.type == "text":
        return None, False
    wrapped = response_format.json_schema
    if wrapped is not None and response_format.type == "json_schema":
        schema = checked_schema(wrapped.schema_ or {}, limits, "response_format.json_schema.schema")
        return schema, bool(wrapped.strict)
    if response_format.schema_ is not None:
        return checked_schema(response_format.schema_, limits, "response_format.schema"), False
    if response_format.type == "json_object":
        return {}, False
    raise RequestError("'json_schema' is missing", param="response_format.json_schema")


def as_json(value: Any) -> str:
    """A value of a client as JSON text, numbers of any length as they came."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def checked_schema(schema: dict[str, Any], limits: Limits, param: str) -> dict[str, Any]:
    """RequestError where a schema is larger or deeper than the limits. Whole numbers beyond 64 bits become floats."""
    if _depth(schema) > limits.schema_depth:
        raise RequestError(f"the schema is nested deeper than {limits.schema_depth} levels", param=param)
    schema = _with_plain_numbers(schema, param)
    if len(orjson.dumps(schema)) > limits.schema_bytes:
        raise RequestError(f"the schema is larger than {limits.schema_bytes} bytes", param=param)
    return schema


def _with_plain_numbers(value: Any, param: str) -> Any:
    if isinstance(value, dict):
        return {key: _with_plain_numbers(item, param) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_plain_numbers(item, param) for item in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        try:
            return float(value)
        except OverflowError:
            raise RequestError("the schema holds a number that nobody can count to", param=param) from None
    return value


def _depth(value: Any) -> int:
    """Levels of nesting; counted level by level, so that depth itself cannot hurt."""
    depth, level = 0, [value]
    while level := [v for v in level if isinstance(v, dict | list)]:
        depth += 1
        level = [child for v in level for child in (v.values() if isinstance(v, dict) else v)]
    return depth


def tool_specs(
    functions: list[Function], limits: Limits, place: str = "tools[{}].function.parameters"
) -> tuple[ToolSpec, ...]:
    """place: how this wire spells where a tool's schema stands."""
    if len(functions) > limits.tools:
        raise RequestError(f"{len(functions)} tools are more than the limit of {limits.tools}", param="tools")
    names = [function.name for function in functions]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise RequestError(f"the tool {twice!r} is given twice", param="tools")
    return tuple(
        ToolSpec(
            name=function.name,
            description=function.description or "",
            parameters=checked_schema(function.parameters or {}, limits, place.format(index)),
            strict=bool(function.strict),
        )
        for index, function in enumerate(functions)
    )


def checked_tool_choice(choice: str | None, tools: tuple[ToolSpec, ...]) -> str:
    """`choice` is a mode or a tool's name; a choice that the tools cannot keep is a RequestError."""
    if choice is None or (choice in ("none", "auto") and not tools):
        return "auto"
    if not tools:
        raise RequestError("'tool_choice' needs 'tools'", param="tool_choice")
    if choice not in ("auto", "none", "required", *(tool.name for tool in tools)):
        raise RequestError(f"'tool_choice' names {choice!r}, which is not among the tools", param="tool_choice")
    return choice
