"""Drafters that misbehave in an engine."""

from __future__ import annotations

import time
from collections.abc import Sequence

from vortex.bench.probe_drafters import Liar
from vortex.decode.drafting.drafter import Proposal


class Failing(Liar):
    def __init__(self, how: str) -> None:
        self.name = how

    def propose(self, ahead: Sequence[int], limit: int) -> Proposal | None:
        if self.name == "raises":
            raise RuntimeError("a drafter's own trouble")
        if self.name == "slow":
            time.sleep(0.01)
            return None
        return Proposal([10**6] * limit, [15] * limit)
