"""History: what answered and when, taking back in one click, and the journal."""

from __future__ import annotations

from starlette.responses import Response

from vortex.console.views.visit import Visit, then
from vortex.errors import VortexError

JOURNAL_LINES = 200


async def history(visit: Visit, refusal: str = "", status: int = 200) -> Response:
    desk = visit.desks.candidates
    runs, current, journal = await visit.in_thread(lambda: (desk.runs(), desk.current(), desk.journal(JOURNAL_LINES)))
    return await visit.page(
        "history", "history", status, runs=runs, current=current, journal=journal, refusal=refusal, said=visit.said
    )


async def go_back(visit: Visit) -> Response:
    current, to = visit.form.get("current", ""), visit.form.get("to") or None
    try:
        await visit.in_thread(lambda: visit.desks.candidates.roll_back(current, to))
    except VortexError as error:
        return await history(visit, str(error), 409)
    return then("/console/history", "back")
