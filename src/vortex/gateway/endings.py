"""What a client hears when its request cannot be answered: a status where nothing was sent yet, else an error event and
`[DONE]`, so that every stream ends well-formed.
"""

from __future__ import annotations

from vortex.errors import Overloaded
from vortex.gateway.dispatch import EngineAway
from vortex.gateway.http.client import UpstreamFailure
from vortex.gateway.http.sse import DONE, error_event
from vortex.gateway.job import Job


def shed(job: Job, error: Overloaded) -> None:
    """429: too many requests. Always before the first byte: whoever waits for a turn hears no comments."""
    job.reply.error(429, str(error), "overloaded", [*job.label(), _retry_after(error.retry_after_s)])


def engine_away(job: Job, error: EngineAway) -> None:
    """503: every breaker is open. Clients that retry by themselves are told not to: the gateway does."""
    if job.reply.started:
        _end_stream(job, str(error), "engine_away")
        return
    headers = [*job.label(), _retry_after(error.retry_after_s + 0.5), (b"x-should-retry", b"false")]
    job.reply.error(503, str(error), "engine_away", headers)


def engine_failed(job: Job, error: UpstreamFailure) -> None:
    """504 for silence, 502 for anything else."""
    if job.reply.started:
        _end_stream(job, str(error), error.kind)
        return
    status = 504 if error.kind in {"stalled", "connect_timeout"} else 502
    job.reply.error(status, f"the engine failed: {error}", f"engine_{error.kind}", job.label())


def _end_stream(job: Job, message: str, code: str) -> None:
    job.reply.end(error_event(message, code) + DONE)


def _retry_after(seconds: float) -> tuple[bytes, bytes]:
    return b"retry-after", b"%d" % max(1, round(seconds))
