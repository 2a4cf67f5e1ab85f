"""Decide: candidates, patches, calls and memories that wait for a person's word."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from vortex.console.contracts import Json
from vortex.console.guard import Refused
from vortex.console.show.candidate import candidate_view
from vortex.console.views.visit import Visit, open_candidates, open_patches, then, unread_memories
from vortex.errors import VortexError

MAX_MEMORIES = 60
SMALL_LINES, LARGE_LINES = 20, 120


async def overview(visit: Visit) -> Response:
    return await visit.page("decide", "decide", said=visit.said, **await _waiting(visit))


async def overview_part(visit: Visit) -> Response:
    return await visit.page("parts/decide_list", "decide", **await _waiting(visit))


async def count_part(visit: Visit) -> Response:
    if visit.recorder.wants_one():
        visit.recorder.add(await visit.api.metrics())
    return await visit.page("parts/count", "decide")


async def _waiting(visit: Visit) -> dict[str, Any]:
    desks = visit.desks
    return await visit.in_thread(
        lambda: {
            "questions": desks.questions.waiting(),
            "candidates": open_candidates(desks),
            "patches": open_patches(desks),
            "memories": unread_memories(desks)[:MAX_MEMORIES],
        }
    )


async def candidate(visit: Visit, refusal: str = "", status: int = 200) -> Response:
    run_id = visit.request.path_params["run_id"]
    try:
        report, current = await visit.in_thread(
            lambda: (visit.desks.candidates.report(run_id), visit.desks.candidates.current())
        )
    except VortexError as error:
        code = 409 if refusal else 404
        return await visit.page("damaged", "decide", code, name=run_id, message=str(error), refused=bool(refusal))
    view = candidate_view(report)
    return await visit.page("candidate", "decide", status, view=view, current=current, refusal=refusal, said=visit.said)


async def decide_candidate(visit: Visit) -> Response:
    desk, seen = visit.desks.candidates, visit.seen(visit.request.path_params["run_id"])
    act = visit.form.get("act")
    place = f"/console/decide/candidates/{seen.id}"
    try:
        if act == "reject":
            reason = visit.reason()
            await visit.in_thread(lambda: desk.reject(seen, reason))
            return then("/console/decide", "rejected")
        if act == "approve":
            await visit.in_thread(lambda: desk.approve(seen))
            return then(place, "approved")
        if act == "approve_use":
            await visit.in_thread(lambda: desk.approve(seen))
        elif act != "use":
            raise Refused(422, "unknown_act")
        await visit.in_thread(lambda: desk.promote(seen))
        return then(place, "used")
    except Refused:
        raise
    except VortexError as error:
        return await candidate(visit, str(error), 409)


async def patch(visit: Visit, refusal: str = "", status: int = 200) -> Response:
    patch_id = visit.request.path_params["patch_id"]
    found = await visit.in_thread(lambda: visit.desks.patches.patch(patch_id))
    shown = _whole(found)
    return await visit.page("patch", "decide", status, patch=shown, risk=_risk(shown), refusal=refusal, said=visit.said)


async def decide_patch(visit: Visit) -> Response:
    desk, seen = visit.desks.patches, visit.seen(visit.request.path_params["patch_id"])
    act = visit.form.get("act")
    try:
        if act == "reject":
            reason = visit.reason()
            await visit.in_thread(lambda: desk.reject(seen, reason))
            return then("/console/decide", "rejected")
        if act != "approve":
            raise Refused(422, "unknown_act")
        await visit.in_thread(lambda: desk.approve(seen))
        return then(f"/console/decide/patches/{seen.id}", "applied")
    except Refused:
        raise
    except VortexError as error:
        return await patch(visit, str(error), 409)


async def answer_question(visit: Visit) -> Response:
    seen, act = visit.seen(visit.request.path_params["question_id"]), visit.form.get("act")
    if act not in {"allow", "deny"}:
        raise Refused(422, "unknown_act")
    await visit.in_thread(lambda: visit.desks.questions.answer(seen, allowed=act == "allow"))
    return then("/console/decide", "allowed" if act == "allow" else "denied")


async def decide_memory(visit: Visit) -> Response:
    seen, act = visit.seen(visit.request.path_params["entry_id"]), visit.form.get("act")
    if act not in {"keep", "drop"}:
        raise Refused(422, "unknown_act")
    desk = visit.desks.memories
    await visit.in_thread(lambda: desk.keep(seen) if act == "keep" else desk.drop(seen))
    return then("/console/decide", "kept" if act == "keep" else "dropped")


def _whole(found: Json) -> dict[str, Any]:
    """With every field that the page reads: an older program wrote fewer."""
    empty: dict[str, Any] = {
        "goal": "", "verdict": "", "base": "", "repaired_tests": [], "kept_tests": 0, "still_failing_tests": [],
        "flaky_tests": [], "held_out_passed": None, "held_out_failed": None, "objections": [], "branch": "",
        "commit": "", "reason": "", "diff": "", "paths": [],
    }  # fmt: skip
    return {**empty, **found}


def _risk(patch: Json) -> str:
    """small, middle or large: by size, by what is touched, and by what speaks for it beyond the search's own tests."""
    lines = sum(line[:1] in {"+", "-"} and line[:3] not in {"+++", "---"} for line in patch["diff"].split("\n"))
    touches_native = any(str(path).startswith("native/") for path in patch["paths"])
    if lines > LARGE_LINES or touches_native or patch["held_out_failed"] or patch["still_failing_tests"]:
        return "large"
    text_only = bool(patch["paths"]) and all(str(path).endswith(".md") for path in patch["paths"])
    return "small" if lines <= SMALL_LINES and (text_only or patch["held_out_passed"]) else "middle"
