"""What an engine has learned about drafting, and what it counts: the books that all its answers write in.

Belongs to the engine's thread; another thread may read `counters`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from vortex.decode.drafting.acceptance import Acceptance, SamplingKind
from vortex.decode.drafting.account import CREDIT
from vortex.decode.drafting.bad import Price
from vortex.decode.drafting.counts import DraftCounts
from vortex.decode.drafting.drafter import Drafter
from vortex.decode.drafting.sources import Source

LEAST_REACH = 0.02  # guesses less likely than this to be reached are not even priced
DEFAULT_PRIOR = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
PRIORS: Mapping[str, Sequence[float]] = {
    "suffix": (0.05, 0.2, 0.4, 0.6, 0.75, 0.8, 0.85, 0.9, 0.93, 0.95),
    "history": (0.05, 0.1, 0.2, 0.35, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9),
}


class DraftBooks:
    """counts: totals of all answers. credits: what the next answer's account begins with, by kind of sampling.
    least_reach: guesses less likely to be reached are not looked at."""

    def __init__(self, drafters: Sequence[Drafter], vocab_size: int) -> None:
        self.vocab_size = vocab_size
        self.sources = [Source(number, drafter) for number, drafter in enumerate(drafters)]
        self.acceptance = Acceptance([PRIORS.get(drafter.name, DEFAULT_PRIOR) for drafter in drafters] or [(0.0,)])
        self.counts = DraftCounts()
        self.draft_s = 0.0
        self.num_pauses = 0
        self.least_reach = LEAST_REACH
        self.credits: defaultdict[SamplingKind, float] = defaultdict(lambda: CREDIT)

    def priced(self, price: Price, num_answers: int) -> None:
        """Prices of a sweep are known: half a row's worth is the least to look at."""
        self.least_reach = max(LEAST_REACH, 0.5 * (price(1) / price(0) - 1) * num_answers)

    def counters(self) -> dict[str, float]:
        """Totals for a status."""
        failures = sum(source.failures for source in self.sources)
        bad_ids = sum(source.bad_ids for source in self.sources)
        rests = sum(source.rests for source in self.sources)
        watched = {"drafter_failures": failures, "drafter_bad_ids": bad_ids, "drafter_rests": rests}
        drafting = {"draft_ms": 1e3 * self.draft_s, "draft_pauses": self.num_pauses}
        return {**self.counts.counters(), **drafting, **watched}
