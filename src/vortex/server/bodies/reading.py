"""A request's bytes as a checked body, or a 400 that names the field.

JSON is parsed and checked in one pass, strictly: no "0.5" where a number belongs, no lone surrogates, no NaN, nothing
nested beyond the parser's depth. Fields that no model knows are ignored, except those that `refused` names: to ignore
these would answer something else than was asked. What a body may hold is counted before it is read, checking stops at
the first thing that is wrong, and large bodies are read away from the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, TypeVar

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails
from starlette.requests import Request

from vortex.errors import RequestError
from vortex.server.bodies.encoding import decoded
from vortex.server.errors import Refusal

MAX_ITEMS = 200_000  # members of all lists and objects together; a prompt as token ids is the longest honest list
MAX_MAP_KEYS = 4096
LARGE_BYTES = 32 * 1024  # read on another thread
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
WRONG_KIND = {
    "string_type",
    "list_type",
    "dict_type",
    "model_type",
    "int_type",
    "float_type",
    "bool_type",
    "literal_error",
}

Item = TypeVar("Item")
Items = Annotated[list[Item], Field(fail_fast=True)]
"""A list whose first wrong member ends the check."""


def _few_keys(value: Any) -> Any:
    if isinstance(value, dict) and len(value) > MAX_MAP_KEYS:
        raise ValueError(f"more than {MAX_MAP_KEYS} keys")
    return value


FewKeys = BeforeValidator(_few_keys)
"""For mappings: a check that comes before their members are looked at."""


class Part(BaseModel):
    """An object inside a body."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False, protected_namespaces=())


class Body(Part):
    """A whole body. `refused`: fields that are an error unless null, false or empty, with the reason."""

    model_config = ConfigDict(extra="allow")
    refused: ClassVar[Mapping[str, str]] = {}


AnyBody = TypeVar("AnyBody", bound=Body)


async def read_body(request: Request, shape: type[AnyBody]) -> AnyBody:
    content_type = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise Refusal(415, f"the body must be application/json, not {content_type!r}", code="unsupported_media_type")
    sent = await request.body()
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    limit_bytes = request.app.state.serving.options.limits.body_bytes
    if len(sent) > LARGE_BYTES or encoding != "identity":
        return await asyncio.to_thread(parsed, sent, encoding, limit_bytes, shape)
    return parsed(sent, encoding, limit_bytes, shape)


def parsed(sent: bytes, encoding: str, limit_bytes: int, shape: type[AnyBody]) -> AnyBody:
    """RequestError for the first thing that is wrong."""
    text = decoded(sent, encoding, limit_bytes).removeprefix(BYTE_ORDER_MARK)
    _check_size(text)
    try:
        body = shape.model_validate_json(text)
    except ValidationError as error:
        raise _refusal(error) from None
    for name, reason in shape.refused.items():
        if (body.model_extra or {}).get(name):
            raise RequestError(f"'{name}' is not supported: {reason}", param=name, code="unsupported_parameter")
    return body


def _check_size(text: bytes) -> None:
    """Counts members without reading them: commas and opening brackets, those inside strings only where many."""
    if text.count(b",") + text.count(b"[") + text.count(b"{") <= MAX_ITEMS or _members(text) <= MAX_ITEMS:
        return
    raise RequestError(f"the body holds more than {MAX_ITEMS} values; send less at once", code="request_too_large")


def _members(text: bytes) -> int:
    """Outside of strings. By whole arrays: a pattern over millions of strings would hold every thread of the server."""
    plain = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    signs = np.frombuffer(plain, dtype=np.uint8)
    is_inside = np.cumsum(signs == ord('"'), dtype=np.uint8) & 1 == 1  # an odd number of quotes so far
    is_member = (signs == ord(",")) | (signs == ord("[")) | (signs == ord("{"))
    return int(np.count_nonzero(is_member & ~is_inside))


def _refusal(error: ValidationError) -> RequestError:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    first = found[0]
    if first["type"] == "json_invalid":
        return RequestError(f"the body is not valid JSON: {first['msg'].removeprefix('Invalid JSON: ')}")
    meant = _meant(found)
    param = _path(meant[0]["loc"]) or None
    if meant[0]["type"] == "missing":
        return RequestError(f"the field '{param}' is missing", param=param, code="missing_required_parameter")
    reasons = dict.fromkeys(one["msg"].removeprefix("Value error, ").removeprefix("Input should be ") for one in meant)
    reason = " or ".join(reasons)
    reason = reason if len(meant) == 1 and not meant[0]["msg"].startswith("Input") else f"it should be {reason}"
    return RequestError(f"'{param}' is wrong: {reason}" if param else reason, param=param, code="invalid_value")


def _meant(found: list[ErrorDetails]) -> list[ErrorDetails]:
    """Of a union's complaints (each member has its own) those about what was sent: where a member got furthest, and
    complains of more than the kind. All of them where the kind fits no member."""
    first = _path(found[0]["loc"][:1]), found[0]["loc"][:2]
    same = [one for one in found if one["loc"][:1] == found[0]["loc"][:1]] if first[0] else found[:1]
    if all(isinstance(one["loc"][1] if len(one["loc"]) > 1 else "", int) for one in same):  # a list: its first member
        same = [one for one in same if one["loc"][:2] == found[0]["loc"][:2]]
    depth = max(len(_places(one["loc"])) for one in same)
    deepest = [one for one in same if len(_places(one["loc"])) == depth]
    better = [one for one in deepest if one["type"] not in WRONG_KIND]
    chosen = better[:1] or deepest
    return [one for one in chosen if _path(one["loc"]) == _path(chosen[0]["loc"])]


def _places(location: tuple[int | str, ...]) -> list[int | str]:
    """Without the names of union members."""
    names = {"str", "int", "float", "bool"}
    return [p for p in location if isinstance(p, int) or (p.isidentifier() and p.islower() and p not in names)]


def _path(location: tuple[int | str, ...]) -> str:
    """`("messages", 0, "content", "str")` as `messages[0].content`."""
    path = ""
    for part in _places(location):
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path
