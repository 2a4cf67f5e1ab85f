"""Ollama's read side: what editors probe for (`/api/tags`, `/api/show`, `/api/ps`, `/api/version`), and its questions
(`/api/chat`, `/api/generate`, `/api/embed`)."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from vortex import __version__
from vortex.errors import RequestError, UnknownModel
from vortex.server.answer import unless_gone
from vortex.server.bodies.ollama import LATEST, EmbedBody, GenerateBody, OllamaBody, OllamaChatBody, ShowBody
from vortex.server.bodies.reading import read_body
from vortex.server.exchange import Asked, exchange
from vortex.server.render.ollama import NDJSON, OllamaWriter
from vortex.server.routes.embeddings import shortened
from vortex.server.serving import Serving
from vortex.types import ModelCard, ModelState

LONG_AHEAD = "2100-01-01T00:00:00Z"  # a model that is served stays

router = APIRouter()


@router.post("/api/chat", response_model=None)
async def chat(request: Request) -> Response:
    """Answer a conversation, as lines of JSON unless `stream` is false."""
    return await _exchange(request, await read_body(request, OllamaChatBody), is_chat=True)


@router.post("/api/generate", response_model=None)
async def generate(request: Request) -> Response:
    """Answer a prompt, as lines of JSON unless `stream` is false. An empty one only tells that the model is there."""
    return await _exchange(request, await read_body(request, GenerateBody), is_chat=False)


async def _exchange(request: Request, body: OllamaChatBody | GenerateBody, *, is_chat: bool) -> Response:
    serving: Serving = request.app.state.serving
    if isinstance(body, GenerateBody) and not body.prompt and not body.suffix:
        return await _loaded(serving, body)
    asked = Asked(
        request=body.to_request(request.state.request_id, serving.options),
        messages=body.chat_messages() if serving.episodes else (),
        stream=body.is_streamed,
        limit_name="options.num_predict",
        media_type=NDJSON,
    )
    return await exchange(
        request, asked, lambda answer, closing: OllamaWriter(body.model, answer.started, is_chat=is_chat)
    )


async def _loaded(serving: Serving, body: OllamaBody) -> Response:
    card, reason = await _card(serving, body.model), "load"
    if body.keep_alive in (0, "0", "0s"):
        reason = "unload"
        if serving.places is not None and card.name in (await _open_names(serving) or ()):
            await serving.places.unload(card.name)
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return _json({"model": body.model, "created_at": now, "response": "", "done": True, "done_reason": reason})


@router.post("/api/embed", response_model=None)
async def embed(request: Request) -> Response:
    """One vector of length 1 per text."""
    serving: Serving = request.app.state.serving
    body = await read_body(request, EmbedBody)
    texts = body.texts()
    if len(texts) > serving.options.limits.embedding_inputs:
        limit = serving.options.limits.embedding_inputs
        raise RequestError(f"{len(texts)} inputs are more than the limit of {limit}", param="input")
    if not all(texts):
        raise RequestError("an input is empty", param="input")
    embedded = await unless_gone(request, serving.backend.embed(texts, body.model.removesuffix(LATEST)))
    vectors = shortened(embedded.vectors, body.dimensions)
    answer = {"model": body.model, "embeddings": vectors, "prompt_eval_count": embedded.prompt_tokens}
    return Response(orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")


@router.get("/api/tags", response_model=None)
async def tags(request: Request) -> Response:
    """The models that requests may name."""
    serving: Serving = request.app.state.serving
    return _json({"models": [_entry(card) for card in await serving.backend.models()]})


@router.get("/api/ps", response_model=None)
async def running(request: Request) -> Response:
    """The models that are loaded."""
    serving: Serving = request.app.state.serving
    held = {"expires_at": LONG_AHEAD, "size_vram": 0}
    names = await _open_names(serving)
    cards = [card for card in await serving.backend.models() if names is None or (card.parent or card.name) in names]
    return _json({"models": [_entry(card) | held for card in cards]})


async def _open_names(serving: Serving) -> set[str] | None:
    """None where one model is held, which is open."""
    if serving.places is None:
        return None
    return {place.name for place in await serving.places.places() if place.state is ModelState.OPEN}


@router.post("/api/show", response_model=None)
async def show(request: Request) -> Response:
    """What is known of one model: its context and what it can do."""
    serving: Serving = request.app.state.serving
    body = await read_body(request, ShowBody)
    card = await _card(serving, body.model)
    entry = _entry(card)
    info: dict[str, Any] = {"general.architecture": "vortex", "general.basename": card.name}
    if card.context_length is not None:
        info["vortex.context_length"] = card.context_length
    return _json(
        {
            "modelfile": "",
            "parameters": "",
            "template": "",
            "license": card.licence or "",
            "details": entry["details"],
            "model_info": info,
            "capabilities": list(card.abilities) or ["completion"],
            "modified_at": entry["modified_at"],
        }
    )


@router.get("/api/version", response_model=None)
async def version() -> Response:
    """This program's version."""
    return _json({"version": __version__})


async def _card(serving: Serving, name: str) -> ModelCard:
    wanted = name.removesuffix(LATEST)
    card = next((card for card in await serving.backend.models() if card.name == wanted), None)
    if card is None:
        raise UnknownModel(f"the model {wanted!r} is not served here; GET /api/tags lists what is")
    return card


def _entry(card: ModelCard) -> dict[str, Any]:
    name = card.name if ":" in card.name else card.name + LATEST
    modified = datetime.fromtimestamp(card.created, UTC).isoformat().replace("+00:00", "Z")
    details = {"parent_model": card.parent or "", "format": "vortex", "family": "vortex", "families": ["vortex"]}
    return {
        "name": name,
        "model": name,
        "modified_at": modified,
        "size": 0,
        "digest": hashlib.sha256(card.name.encode()).hexdigest(),
        "details": details | {"parameter_size": "", "quantization_level": ""},
    }


def _json(value: object) -> Response:
    return Response(orjson.dumps(value), media_type="application/json")
