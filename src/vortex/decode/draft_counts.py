"""How drafts fared, under the names that other engines use."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class DraftCounts:
    """num_blocks: sweeps of an answer that carried guesses; num_plain: those that carried none.

    offered_at, accepted_at: by place behind the newest token, from 1, how many guesses were swept and how many stood.
    """

    num_blocks: int = 0
    num_plain: int = 0
    num_tokens: int = 0
    offered_at: Counter[int] = field(default_factory=Counter)
    accepted_at: Counter[int] = field(default_factory=Counter)

    def add(self, num_guesses: int, num_stood: int) -> None:
        self.num_tokens += num_stood + 1
        if not num_guesses:
            self.num_plain += 1
            return
        self.num_blocks += 1
        self.offered_at.update(range(1, num_guesses + 1))
        self.accepted_at.update(range(1, num_stood + 1))

    def __add__(self, other: DraftCounts) -> DraftCounts:
        return DraftCounts(
            self.num_blocks + other.num_blocks,
            self.num_plain + other.num_plain,
            self.num_tokens + other.num_tokens,
            self.offered_at + other.offered_at,
            self.accepted_at + other.accepted_at,
        )

    def counters(self) -> dict[str, float]:
        """mean_acceptance_length: tokens per sweep that carried a draft. acceptance_histogram_N: the share of drafts at
        place N that stood. tokens_per_sweep: of all sweeps of the answers."""
        offered, accepted = self.offered_at.total(), self.accepted_at.total()
        counters: dict[str, float] = {
            "num_drafts": self.num_blocks,
            "num_draft_tokens": offered,
            "num_accepted_draft_tokens": accepted,
        }
        if sweeps := self.num_blocks + self.num_plain:
            counters["tokens_per_sweep"] = self.num_tokens / sweeps
        if offered:
            counters["draft_acceptance_rate"] = accepted / offered
            counters["mean_acceptance_length"] = 1 + accepted / self.num_blocks
        for place in sorted(self.offered_at):
            counters[f"acceptance_histogram_{place}"] = self.accepted_at[place] / self.offered_at[place]
        return {name: float(value) for name, value in counters.items()}
