"""`POST /v1/models/unload`: close a model that is idle. Only there where the server holds several."""

from __future__ import annotations

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from vortex.server.bodies.reading import read_body
from vortex.server.bodies.small import UnloadBody
from vortex.server.serving import Serving

router = APIRouter()


@router.post("/v1/models/unload", response_model=None)
async def unload(request: Request) -> Response:
    """Give an idle model's memory back; the next request for it opens it again."""
    serving: Serving = request.app.state.serving
    assert serving.places is not None, "this path exists where models are managed"
    body = await read_body(request, UnloadBody)
    await serving.places.unload(body.model)
    return Response(orjson.dumps({"model": body.model, "state": "available"}), media_type="application/json")
