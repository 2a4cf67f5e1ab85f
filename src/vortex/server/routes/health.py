"""`/healthz` (alias `/health`), `/readyz` and `/metrics`."""

from __future__ import annotations

import orjson
from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response

from vortex.server.serving import Serving

router = APIRouter()


@router.get("/healthz", response_model=None)
@router.get("/health", response_model=None)
async def healthz() -> Response:
    """The process lives. Asks nothing of the model."""
    return Response(b'{"status":"ok"}', media_type="application/json")


@router.get("/readyz", response_model=None)
async def readyz(request: Request) -> Response:
    """The model is loaded and takes requests; else 503."""
    serving: Serving = request.app.state.serving
    status = await serving.backend.status()
    body = {"status": "ready" if status.ready else "loading", "active": status.active, "queued": status.queued}
    headers = {} if status.ready else {"Retry-After": "1"}
    return Response(orjson.dumps(body), 200 if status.ready else 503, headers, "application/json")


@router.get("/metrics", response_model=None)
async def metrics(request: Request) -> Response:
    """Prometheus' text format."""
    serving: Serving = request.app.state.serving
    text = serving.metrics.text(await serving.backend.status())
    return Response(text, media_type=CONTENT_TYPE_LATEST)
