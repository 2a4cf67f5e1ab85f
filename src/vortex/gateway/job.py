"""One request on its way through the gateway, and the headers that tell its client what was done with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vortex.gateway.booking import Booking
from vortex.gateway.decision import Decision, Evidence
from vortex.gateway.examine import Facts
from vortex.gateway.http.wire import Comfort, Headers, Reply, Request


@dataclass(slots=True)
class Job:
    """`parsed` is None where the body is not JSON (not for chat)."""

    request: Request
    reply: Reply
    parsed: dict[str, Any] | None
    facts: Facts
    evidence: Evidence
    total_at: float
    booking: Booking
    comfort: Comfort
    decision: Decision | None = None

    def label(self) -> Headers:
        """The headers that tell the mode and why."""
        decision = self.decision
        mode = decision.mode.value if decision else "PENDING"
        headers = [(b"x-lkn-mode", mode.encode()), (b"x-lkn-request-id", self.request.id.encode())]
        if decision:
            headers.append((b"x-lkn-reason", decision.reason.encode("latin-1", "replace")))
        return headers
