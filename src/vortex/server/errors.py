"""Every failure as the wire it happens on spells it, and a status.

OpenAI: `{"error": {"message", "type", "param", "code"}}`. Anthropic: `{"type": "error", "error": {"type", "message"}}`.
Ollama: `{"error": "message"}`. Which wire it is, the path says.

Promises: FastAPI's `{"detail"}` never leaves; what a client gets to read names no path, no traceback.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from vortex.errors import BackendError, MissingCapability, Overloaded, RequestError, UnknownModel, VortexError

INVALID = "invalid_request_error"
ANTHROPIC_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
}
STATUS_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class Refusal(RequestError):
    """A request refused by the wire itself, with its HTTP status and headers."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, param=param, code=code)
        self.status = status
        self.headers = dict(headers or {})


def status_of(error: Exception) -> int:
    if isinstance(error, Refusal):
        return error.status
    if isinstance(error, UnknownModel):
        return 404
    if isinstance(error, RequestError | MissingCapability):
        return 400
    if isinstance(error, Overloaded):
        return 429
    return 502 if isinstance(error, BackendError) else 500


def error_body(error: Exception) -> dict[str, Any]:
    """The body for any exception. What is not a VortexError is described without its text."""
    status = status_of(error)
    code: str | None = getattr(error, "code", None)
    if isinstance(error, Overloaded):
        code = "rate_limit_exceeded"
    elif isinstance(error, MissingCapability):
        code = "unsupported"
    message = str(error) if isinstance(error, VortexError) else "the server failed on this request; its log says why"
    kind = STATUS_TYPES.get(status, INVALID if status < 500 else "server_error")
    return {"error": {"message": message, "type": kind, "param": getattr(error, "param", None), "code": code}}


def anthropic_error(error: Exception) -> dict[str, Any]:
    """The message names the field where OpenAI's shape has a place of its own for it."""
    told, status = error_body(error)["error"], status_of(error)
    kind = ANTHROPIC_TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
    return {"type": "error", "error": {"type": kind, "message": _with_field(told)}}


def ollama_error(error: Exception) -> dict[str, Any]:
    return {"error": _with_field(error_body(error)["error"])}


def _with_field(told: Mapping[str, Any]) -> str:
    message, param = told["message"], told["param"]
    return message if not param or param in message else f"{param}: {message}"


def body_for(path: str, error: Exception) -> dict[str, Any]:
    """The body in the shape of the wire that the path belongs to."""
    if path.startswith("/v1/messages"):
        return anthropic_error(error)
    return ollama_error(error) if path.startswith("/api/") else error_body(error)


def error_response(error: Exception, path: str) -> Response:
    headers: dict[str, str] = {}
    if isinstance(error, Refusal):
        headers = error.headers
    elif isinstance(error, Overloaded):
        headers = {"Retry-After": str(max(1, round(error.retry_after_s)))}
    return Response(orjson.dumps(body_for(path, error)), status_of(error), headers, "application/json")


async def on_vortex_error(request: Request, error: Exception) -> Response:
    return error_response(error, request.url.path)


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Routing's own failures: an unknown path, a wrong method."""
    assert isinstance(error, HTTPException), f"registered for HTTPException, got {type(error)}"
    message = f"{request.method} {request.url.path}: {error.detail}"
    return error_response(Refusal(error.status_code, message, headers=error.headers), request.url.path)
