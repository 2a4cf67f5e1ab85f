"""The OpenAPI document: bodies are read by hand (`bodies/reading.py`), so their schemas are put in by hand too."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from vortex import __version__
from vortex.server.bodies.anthropic import CountBody, MessagesBody
from vortex.server.bodies.chat import ChatBody
from vortex.server.bodies.completion import CompletionBody
from vortex.server.bodies.ollama import EmbedBody, GenerateBody, OllamaChatBody, ShowBody
from vortex.server.bodies.reading import Body
from vortex.server.bodies.responses import ResponsesBody
from vortex.server.bodies.small import EmbeddingBody, FeedbackBody
from vortex.server.bodies.tokens import DetokenizeBody, RerankBody, TokenizeBody

BODIES: dict[str, type[Body]] = {
    "/v1/chat/completions": ChatBody,
    "/v1/completions": CompletionBody,
    "/v1/responses": ResponsesBody,
    "/v1/messages": MessagesBody,
    "/v1/messages/count_tokens": CountBody,
    "/v1/embeddings": EmbeddingBody,
    "/v1/feedback": FeedbackBody,
    "/v1/rerank": RerankBody,
    "/tokenize": TokenizeBody,
    "/detokenize": DetokenizeBody,
    "/api/chat": OllamaChatBody,
    "/api/generate": GenerateBody,
    "/api/embed": EmbedBody,
    "/api/show": ShowBody,
}
STREAMS = {"/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"}
REFERENCE = "#/components/schemas/{model}"
ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}


def document(app: FastAPI) -> dict[str, Any]:
    """The whole document of an app; every failure it can answer has the one error shape."""
    described = get_openapi(title="Vortex", version=__version__, routes=app.routes, description=app.description)
    _, definitions = models_json_schema([(body, "validation") for body in BODIES.values()], ref_template=REFERENCE)
    schemas = described.setdefault("components", {}).setdefault("schemas", {})
    schemas.update(definitions["$defs"])
    schemas["Error"] = ERROR
    failure = {
        "description": "A failure in OpenAI's shape",
        "content": {"application/json": {"schema": {"$ref": REFERENCE.format(model="Error")}}},
    }
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            operation["responses"] = {"200": operation["responses"]["200"], "4XX": failure, "5XX": failure}
            if path in STREAMS:
                operation["responses"]["200"]["content"]["text/event-stream"] = {}  # frames differ by endpoint
            if path == "/metrics":
                operation["responses"]["200"]["content"] = {"text/plain": {"schema": {"type": "string"}}}
            if method == "post" and path in BODIES:
                schema = {"$ref": REFERENCE.format(model=BODIES[path].__name__)}
                operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return described
