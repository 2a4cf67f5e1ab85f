"""The engine's side of `vortex bench serve`: one process, one engine, one loop; asked directly and over the wire.

Routes beside the server's own: `/bench/bare` asks the engine as any part of this program does and reports what it
heard; `/bench/work` tells the processor time of the loop's thread, which does all the server's work and none of the
model's; `/bench/memory` what the process holds. So both ways meet the same engine, threads and memory.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from vortex.protocols import ChatBackend
from vortex.types import ChatEvent, ChatMessage, ChatRequest, Completed, TextDelta


@dataclass(frozen=True, slots=True)
class Heard:
    """One answer at its reader's end: its text, and seconds since the request."""

    text: str
    first_s: float
    total_s: float
    num_tokens: int

    @property
    def token_s(self) -> float:
        """Mean time between tokens."""
        return (self.total_s - self.first_s) / max(self.num_tokens - 1, 1)


def bare_router(backend: ChatBackend) -> APIRouter:
    router = APIRouter()

    @router.post("/bench/bare", response_model=None)
    async def bare(request: Request) -> Response:
        """The body: a list of requests; they start together. The answer: what was heard, seconds of all together."""
        asked = [request_of(fields) for fields in orjson.loads(await request.body())]
        started, worked = time.perf_counter(), time.thread_time()
        heard = await asyncio.gather(*(listen(backend, one) for one in asked))
        figures = {"wall_s": time.perf_counter() - started, "work_s": time.thread_time() - worked}
        return Response(orjson.dumps({"heard": [asdict(one) for one in heard], **figures}))

    @router.post("/bench/work", response_model=None)
    async def work(request: Request) -> Response:
        return Response(orjson.dumps({"work_s": time.thread_time()}))

    @router.post("/bench/memory", response_model=None)
    async def memory(request: Request) -> Response:
        return Response(orjson.dumps(memory_and_new_peak()))

    return router


def memory_and_new_peak() -> dict[str, int]:
    """Bytes of this process that are resident, and the most since the last call. Linux only: it forgets the peak."""
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    kilobytes = {
        name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in status) if "kB" in rest
    }
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return {"resident_bytes": kilobytes["VmRSS"] << 10, "peak_bytes": kilobytes["VmHWM"] << 10}


def request_of(fields: Mapping[str, Any]) -> ChatRequest:
    """What the measurement asks, both ways."""
    messages = (ChatMessage(role="user", content=fields["content"]),)
    return ChatRequest(
        request_id="bench", messages=messages, max_tokens=fields["max_tokens"], ignore_eos=fields["ignore_eos"]
    )


async def listen(backend: ChatBackend, request: ChatRequest) -> Heard:
    started = time.perf_counter()
    first_s, pieces, num_tokens = None, [], 0
    events = cast("AsyncGenerator[ChatEvent, None]", backend.chat(request))
    async with aclosing(events):
        async for event in events:
            if isinstance(event, TextDelta):
                first_s = first_s or time.perf_counter() - started
                pieces.append(event.text)
            elif isinstance(event, Completed):
                num_tokens = event.usage.completion_tokens
    total_s = time.perf_counter() - started
    return Heard("".join(pieces), first_s or total_s, total_s, num_tokens)
