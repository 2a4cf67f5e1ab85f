"""`GET|POST /doctor` and `/doctor/deep`: checkups that composition hands in, run in a thread, one at a time."""

from __future__ import annotations

import asyncio

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from vortex.errors import Overloaded
from vortex.server.serving import Checkups

METHODS = ("GET", "POST")


def doctor_router(checkups: Checkups) -> APIRouter:
    """Routes for the checkups that there are."""
    router = APIRouter()
    running = asyncio.Lock()

    async def run(request: Request) -> Response:
        """A report on this machine and this installation."""
        deep = request.url.path.endswith("/deep")
        checkup = checkups.deep if deep else checkups.quick
        assert checkup is not None, "a path without a checkup is not routed"
        if running.locked():
            raise Overloaded("a checkup is running; try again when it has ended", retry_after_s=5.0)
        async with running:
            report = await asyncio.to_thread(checkup)
        return Response(orjson.dumps(report, default=str), media_type="application/json")

    for path, checkup in (("/doctor", checkups.quick), ("/doctor/deep", checkups.deep)):
        for method in METHODS if checkup is not None else ():
            router.add_api_route(path, run, methods=[method], response_model=None, operation_id=f"{method}{path}")
    return router
