"""Chat: the page, and the three things it asks of the server: an answer, a judgement kept, Markdown made readable."""

from __future__ import annotations

import orjson
from starlette.responses import HTMLResponse, Response

from vortex.console.guard import HEADERS, Refused
from vortex.console.show.markdown import markdown
from vortex.console.views.visit import Visit

FORWARDED = {"chat": "/v1/chat/completions", "feedback": "/v1/feedback"}
MAX_MARKDOWN_BYTES = 1 << 20
WORDS = (
    "you", "thinking", "edit", "good", "bad", "right_answer_is", "teach", "cancel", "taught_now", "thanks", "held_back",
    "by_lesson", "by_memory", "by_documents", "by_adapter", "calls", "stopped", "failed", "lost", "signed_out",
    "tokens_s", "answer_here",
)  # fmt: skip


async def chat(visit: Visit) -> Response:
    words = {word: visit.look.translate(word) for word in WORDS}
    return await visit.page("chat", "chat", words=words)


async def readable(visit: Visit) -> Response:
    """HTML of a text of the conversation, for the page that streamed it."""
    size, body = 0, bytearray()
    async for piece in visit.request.stream():
        size += len(piece)
        if size > MAX_MARKDOWN_BYTES:
            raise Refused(413, "form_too_large")
        body += piece
    try:
        text = orjson.loads(body)["text"]
    except (ValueError, KeyError, TypeError):
        raise Refused(400, "no_form") from None
    if not isinstance(text, str):
        raise Refused(400, "no_form")
    return HTMLResponse(str(markdown(text)), headers=dict(HEADERS))
