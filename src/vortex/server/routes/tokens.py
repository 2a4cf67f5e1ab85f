"""`POST /tokenize`, `POST /detokenize`, and `POST /v1/rerank`."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from vortex.engine.counting import counter_of
from vortex.errors import RequestError
from vortex.server.answer import unless_gone
from vortex.server.bodies.messages import conversation
from vortex.server.bodies.reading import read_body
from vortex.server.bodies.tokens import DetokenizeBody, RerankBody, TokenizeBody
from vortex.server.serving import Serving
from vortex.types import ChatRequest

router = APIRouter()


@router.post("/tokenize", response_model=None)
async def tokenize(request: Request) -> Response:
    """A text's tokens, or a conversation's as the model would read it."""
    serving: Serving = request.app.state.serving
    body = await read_body(request, TokenizeBody)
    if (body.content is None) == (body.messages is None):
        raise RequestError("send either 'content' or 'messages'", param="content")
    counter = counter_of(serving.backend)
    if body.messages is not None:
        asked = ChatRequest(request_id=request.state.request_id, model=body.model, messages=conversation(body.messages))
        ids = await unless_gone(request, counter.prompt_token_ids(asked))
    else:
        ids = await unless_gone(
            request, counter.tokenize(body.content or "", special=bool(body.parse_special), model=body.model)
        )
    limit = (await serving.backend.models())[0].context_length
    return _json({"tokens": list(ids), "count": len(ids), "max_model_len": limit})


@router.post("/detokenize", response_model=None)
async def detokenize(request: Request) -> Response:
    """The text of tokens, control tokens spelled out."""
    serving: Serving = request.app.state.serving
    body = await read_body(request, DetokenizeBody)
    text = await unless_gone(request, counter_of(serving.backend).detokenize(body.tokens, body.model))
    return _json({"content": text, "prompt": text})


@router.post("/v1/rerank", response_model=None)
@router.post("/rerank", response_model=None, include_in_schema=False)
async def rerank(request: Request) -> Response:
    """Documents by how near they stand to a query: the cosine of their embeddings, highest first."""
    serving: Serving = request.app.state.serving
    body = await read_body(request, RerankBody)
    texts, limit = body.texts(), serving.options.limits.embedding_inputs
    if len(texts) >= limit:
        raise RequestError(f"{len(texts)} documents are more than the limit of {limit - 1}", param="documents")
    embedded = await unless_gone(request, serving.backend.embed([body.query, *texts], body.model))
    scores = embedded.vectors[1:] @ embedded.vectors[0]
    order = np.argsort(-scores, kind="stable")[: body.top_n or len(texts)]
    results: list[dict[str, Any]] = []
    for index in order.tolist():
        result: dict[str, Any] = {"index": index, "relevance_score": float(scores[index])}
        if body.return_documents:
            result["document"] = {"text": texts[index]}
        results.append(result)
    tokens = embedded.prompt_tokens
    model = body.model or (await serving.backend.models())[0].name
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return _json({"object": "list", "model": model, "results": results, "usage": usage})


def _json(value: object) -> Response:
    return Response(orjson.dumps(value), media_type="application/json")
