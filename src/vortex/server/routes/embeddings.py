"""`POST /v1/embeddings`."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from vortex.errors import RequestError
from vortex.server.answer import unless_gone
from vortex.server.bodies.reading import read_body
from vortex.server.bodies.small import EmbeddingBody
from vortex.server.serving import Serving

router = APIRouter()


@router.post("/v1/embeddings", response_model=None)
async def embeddings(request: Request) -> Response:
    """One vector of length 1 per text: the mean of the loaded model's last hidden states."""
    serving: Serving = request.app.state.serving
    body = await read_body(request, EmbeddingBody)
    texts = body.texts()
    limit = serving.options.limits.embedding_inputs
    if len(texts) > limit:
        raise RequestError(f"{len(texts)} inputs are more than the limit of {limit}", param="input")
    if not all(texts):
        raise RequestError("an input is empty", param="input")
    embedded = await unless_gone(request, serving.backend.embed(texts, body.model))
    vectors = shortened(embedded.vectors, body.dimensions)
    as_base64 = body.encoding_format == "base64"
    rows = [
        {"object": "embedding", "index": index, "embedding": _base64(vector) if as_base64 else vector}
        for index, vector in enumerate(vectors)
    ]
    answer: dict[str, Any] = {
        "object": "list",
        "data": rows,
        "model": body.model or (await serving.backend.models())[0].name,
        "usage": {"prompt_tokens": embedded.prompt_tokens, "total_tokens": embedded.prompt_tokens},
    }
    return Response(orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")


def shortened(vectors: np.ndarray, dimensions: int | None) -> np.ndarray:
    """The first `dimensions` numbers of each vector, at length 1 again."""
    if dimensions is None or dimensions == vectors.shape[1]:
        return np.ascontiguousarray(vectors, dtype=np.float32)
    if dimensions > vectors.shape[1]:
        raise RequestError(f"'dimensions' is {dimensions}; vectors have {vectors.shape[1]}", param="dimensions")
    cut = vectors[:, :dimensions]
    lengths = np.maximum(np.linalg.norm(cut, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    return np.ascontiguousarray(cut / lengths, dtype=np.float32)


def _base64(vector: np.ndarray) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()
