"""What the routes share: the backend, the options, the counters, the book of episodes, and how an answer is begun."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request

from vortex import __version__
from vortex.errors import Overloaded, RequestError
from vortex.knowledge.grounding.desk import Desk
from vortex.knowledge.grounding.lesson_desk import LessonDesk
from vortex.protocols import ChatBackend, ManagesModels
from vortex.server.answer import Gathered, LiveAnswer, unless_gone
from vortex.server.episode_log import EpisodeLog
from vortex.server.metrics import ServerMetrics
from vortex.server.options import ServerOptions
from vortex.types import ChatRequest, Started

Report = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkups:
    """What `/doctor` and `/doctor/deep` run, each in a thread of its own; without one the path does not exist."""

    quick: Callable[[], Report] | None = None
    deep: Callable[[], Report] | None = None


@dataclass(slots=True, kw_only=True)
class Serving:
    backend: ChatBackend
    options: ServerOptions
    checkups: Checkups = Checkups()
    desk: Desk | None = None
    lessons: LessonDesk | None = None
    places: ManagesModels | None = None
    episodes: EpisodeLog | None = None
    metrics: ServerMetrics = field(default_factory=ServerMetrics)
    active: int = 0
    running: dict[str, LiveAnswer] = field(default_factory=dict)  # by request id

    async def begin(
        self,
        request: Request,
        asked: ChatRequest,
        *,
        messages: list[dict[str, Any]] | None = None,
        sources: Sequence[str] = (),
        limit_name: str = "max_tokens",
    ) -> LiveAnswer:
        """An answer whose first event has come. With `messages` it is written down as an episode when it ends.
        `sources`: what was quoted to it, for the episode. `limit_name`: how this endpoint spells `max_tokens`, for
        refusals.

        Raises what the backend raises, Overloaded at the limit of concurrent requests, ClientGone.
        """
        limit = self.options.limits.concurrent_requests
        if self.active >= limit:
            raise Overloaded(f"{limit} requests are being served; try again in a second", retry_after_s=1.0)
        born_s = time.perf_counter()

        def on_end(gathered: Gathered) -> None:
            self.metrics.answer_ended(gathered)
            if self.episodes is not None and messages is not None:
                self.episodes.add(asked, messages, gathered, sources)

        answer = LiveAnswer(self.backend.chat(asked), asked.num_choices, on_end, born_s)
        self.active += 1
        self.metrics.active.inc()
        self.running[asked.request_id] = answer
        answer.on_close(lambda: self._release(asked.request_id))
        try:
            await unless_gone(request, answer.begin())
        except RequestError as error:
            if error.param != "max_tokens" or limit_name == "max_tokens":
                raise
            raise RequestError(
                str(error).replace("max_tokens", limit_name), param=limit_name, code=error.code
            ) from None
        return answer

    def _release(self, request_id: str) -> None:
        self.active -= 1
        self.running.pop(request_id, None)
        self.metrics.active.dec()

    def fingerprint(self, started: Started) -> str:
        """Changes when the program, the model or its adapter does, as OpenAI's `system_fingerprint` promises."""
        adapter = f"/{started.adapter}" if started.adapter else ""
        return "fp_" + hashlib.sha256(f"{__version__}/{started.model}{adapter}".encode()).hexdigest()[:12]
