"""State: models, figures and curves, the gateway beside, the checkup."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from vortex.console.show.figures import GATEWAY, tiles
from vortex.console.views.visit import Visit
from vortex.machine.measured import memory_available_bytes, memory_of_this_process_bytes


async def state(visit: Visit) -> Response:
    findings = None
    if "doctor" in visit.request.query_params:
        report = await visit.api.json("/doctor")
        findings = [_finding(one) for one in (report or {}).get("findings", [])]
    return await visit.page("state", "state", findings=findings, **await _figures(visit))


async def figures_part(visit: Visit) -> Response:
    return await visit.page("parts/figures", "state", **await _figures(visit))


async def _figures(visit: Visit) -> dict[str, Any]:
    metrics = await visit.api.metrics()
    desk = visit.desks.gateway
    gateway = await visit.in_thread(desk.figures) if desk is not None else None
    if visit.recorder.wants_one():
        beside = {name: float(gateway[name]) for name in GATEWAY} if gateway else {}
        visit.recorder.add({**metrics, **beside})
    models = (await visit.api.json("/v1/models") or {}).get("data", [])
    memory = {"memory": float(memory_of_this_process_bytes()), "free": float(memory_available_bytes())}
    return {
        "models": [{"id": str(one["id"]), "licence": str(one.get("licence") or "")} for one in models],
        "tiles": tiles(metrics, memory),
        "curves": visit.recorder.curves(),
        "gateway": gateway,
        "gateway_curves": visit.recorder.gateway_curves(),
    }


def _finding(found: Any) -> dict[str, str]:
    return {key: str(found.get(key) or "") for key in ("status", "name", "text", "fix")}
