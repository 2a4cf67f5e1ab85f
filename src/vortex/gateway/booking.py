"""All who hear of a request, in one place so that none is forgotten: sticky modes, homeostat, metrics, ledger."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from vortex.gateway.admission import Admission
from vortex.gateway.controller import Homeostat
from vortex.gateway.decision import Decision, Evidence
from vortex.gateway.examine import Facts
from vortex.gateway.http.wire import Request
from vortex.gateway.ledger import Ledger
from vortex.gateway.metrics import Metrics
from vortex.gateway.sessions import Sessions
from vortex.gateway.stream import Progress


@dataclass(slots=True)
class Booking:
    """What became of a request. Times are of `time.monotonic`: uvloop's own clock has steps of a millisecond."""

    request: Request
    facts: Facts
    conversation: str  # digest
    outcome: str = ""
    error: str = ""
    upstream: str = ""
    sent_at: float = 0.0
    first_token_at: float = 0.0
    tokens: int = 0
    escalated: bool = False
    progress: Progress | None = None


class Books:
    def __init__(
        self, admission: Admission, sessions: Sessions, homeostat: Homeostat, metrics: Metrics, ledger: Ledger
    ) -> None:
        self.admission = admission
        self.sessions = sessions
        self.homeostat = homeostat
        self.metrics = metrics
        self.ledger = ledger

    def open(self, request: Request, facts: Facts) -> Booking:
        return Booking(request, facts, self.ledger.digest(facts.conversation) if facts.conversation else "")

    def prior_mode(self, booking: Booking) -> str:
        """Of an earlier turn; a conversation's first turn leans nowhere."""
        return self.sessions.last_mode(booking.conversation) if booking.facts.turns > 1 else ""

    def sent(self, booking: Booking) -> None:
        if not booking.sent_at:
            booking.sent_at = time.monotonic()
            self.metrics.added.add(booking.sent_at - booking.request.arrived)

    def decided(self, booking: Booking, decision: Decision) -> None:
        self.metrics.count_decision(decision.mode.value, decision.reason)
        if not booking.facts.exempt:
            self.homeostat.saw_decision(time.monotonic(), analytic=decision.mode.value == "ANALITICO")
            self.sessions.remember(booking.conversation, decision.mode.value)

    def first_token(self, booking: Booking) -> None:
        if not booking.first_token_at:
            booking.first_token_at = time.monotonic()
            ttft_s = booking.first_token_at - booking.sent_at
            self.metrics.ttft.add(ttft_s)
            if booking.facts.stream:
                self.homeostat.saw_first_token(booking.first_token_at, ttft_s * 1000)

    def close(self, booking: Booking, evidence: Evidence, decision: Decision) -> None:
        self.metrics.outcomes[booking.outcome] += 1
        self.metrics.escalations += booking.escalated
        if booking.outcome in {"ok", "failed"}:
            self.homeostat.saw_end(time.monotonic(), failed=booking.outcome == "failed")
        self.ledger.request(evidence, decision, (booking.conversation, booking.facts.text), self._outcome(booking))

    def _outcome(self, booking: Booking) -> dict[str, Any]:
        arrived, progress = booking.request.arrived, booking.progress
        state = self.homeostat.state
        return {
            "id": booking.request.id,
            "path": booking.request.path,
            "result": booking.outcome,
            "error": booking.error,
            "upstream": booking.upstream,
            "stream": booking.facts.stream,
            "task": booking.facts.task,
            "escalated": booking.escalated,
            "tokens": progress.tokens if progress else booking.tokens,
            "finish_reason": progress.finish_reason if progress else "",
            "ttft_ms": round((booking.first_token_at - booking.sent_at) * 1000, 3) if booking.first_token_at else None,
            "total_ms": round((time.monotonic() - arrived) * 1000, 3),
            "controller": {
                "threshold_offset": state.threshold_offset,
                "budget_factor": state.budget_factor,
                "concurrency_factor": state.concurrency_factor,
            },
        }
