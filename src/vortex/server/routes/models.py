"""`GET /v1/models` and `GET /v1/models/{name}`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from vortex.errors import UnknownModel
from vortex.server.serving import Serving
from vortex.types import ModelCard, ModelPlace

VERSION_HEADER = "anthropic-version"  # its clients send it with every request

router = APIRouter()


@router.get("/v1/models", response_model=None)
async def list_models(request: Request) -> Response:
    """The models that requests may name."""
    serving: Serving = request.app.state.serving
    found = await serving.backend.models()
    places = {place.name: place for place in await serving.places.places()} if serving.places else {}
    cards = [{**_entry(card), **_state(places.get(card.name))} for card in found]
    listed: dict[str, Any] = {"object": "list", "data": cards}
    if VERSION_HEADER in request.headers:
        ends = {"first_id": found[0].name, "last_id": found[-1].name} if found else {}
        listed = {"data": [_anthropic_entry(card) for card in found], "has_more": False, **ends}
    return Response(orjson.dumps(listed), media_type="application/json")


@router.get("/v1/models/{name:path}", response_model=None)
async def one_model(request: Request, name: str) -> Response:
    """One model by its name."""
    serving: Serving = request.app.state.serving
    card = next((card for card in await serving.backend.models() if card.name == name), None)
    if card is None:
        raise UnknownModel(f"the model {name!r} is not served here; GET /v1/models lists what is")
    entry = _anthropic_entry(card) if VERSION_HEADER in request.headers else _entry(card)
    return Response(orjson.dumps(entry), media_type="application/json")


def _entry(card: ModelCard) -> dict[str, Any]:
    return {
        "id": card.name,
        "object": "model",
        "created": card.created,
        "owned_by": card.origin or "local",
        "context_length": card.context_length,
        "licence": card.licence,
        "parent": card.parent,
        "abilities": list(card.abilities),
    }


def _state(place: ModelPlace | None) -> dict[str, Any]:
    """Where several models are held: what became of this one. An adapter's name is of its parent's state."""
    if place is None:
        return {}
    idle_s = None if place.idle_s is None else round(place.idle_s, 1)
    state = {"state": place.state, "size_bytes": place.size_bytes, "active": place.active, "idle_s": idle_s}
    return {**state, **({"error": place.error} if place.error else {})}


def _anthropic_entry(card: ModelCard) -> dict[str, Any]:
    created = datetime.fromtimestamp(card.created, UTC).isoformat().replace("+00:00", "Z")
    shown = {"id": card.name, "type": "model", "display_name": card.name, "created_at": created}
    return {**shown, "max_input_tokens": card.context_length, "max_tokens": card.context_length}
