"""A request's bytes as a checked body, or a 400 that names the field.

JSON is parsed and checked in one pass, strictly: no "0.5" where a number belongs, no lone surrogates, no NaN, nothing
nested beyond the parser's depth. Fields that no model knows are ignored, except those that `refused` names: to ignore
these would answer something else than was asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import Request

from vortex.errors import RequestError
from vortex.server.errors import Refusal


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
    try:
        body = shape.model_validate_json(await request.body())
    except ValidationError as error:
        raise _refusal(error) from None
    for name, reason in shape.refused.items():
        if (body.model_extra or {}).get(name):
            raise RequestError(f"'{name}' is not supported: {reason}", param=name, code="unsupported_parameter")
    return body


def _refusal(error: ValidationError) -> RequestError:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    if first["type"] == "json_invalid":
        return RequestError(f"the body is not valid JSON: {first['msg'].removeprefix('Invalid JSON: ')}")
    param = _path(first["loc"]) or None
    if first["type"] == "missing":
        return RequestError(f"the field '{param}' is missing", param=param, code="missing_required_parameter")
    reason = first["msg"].removeprefix("Value error, ")
    return RequestError(f"'{param}' is wrong: {reason}" if param else reason, param=param, code="invalid_value")


def _path(location: tuple[int | str, ...]) -> str:
    """`("messages", 0, "content", "str")` as `messages[0].content`: names of union members are left out."""
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part.isidentifier() and part.islower() and part not in {"str", "int", "float", "bool"}:
            path += f".{part}" if path else part
    return path
