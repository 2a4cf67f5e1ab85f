"""How drafts fared, under the names that other engines use."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class DraftCounts:
    """num_blocks: sweeps of an answer that carried guesses; num_plain: those that carried none.

    num_offered, num_accepted: guesses that were swept, and those that stood. accepted: in how many blocks so many
    stood.
    """

    num_blocks: int = 0
    num_plain: int = 0
    num_tokens: int = 0
    num_offered: int = 0
    num_accepted: int = 0
    accepted: Counter[int] = field(default_factory=Counter)

    def add(self, num_guesses: int, num_stood: int) -> None:
        self.num_tokens += num_stood + 1
        if not num_guesses:
            self.num_plain += 1
            return
        self.num_blocks += 1
        self.num_offered += num_guesses
        self.num_accepted += num_stood
        self.accepted[num_stood] += 1

    def __add__(self, other: DraftCounts) -> DraftCounts:
        return DraftCounts(
            self.num_blocks + other.num_blocks,
            self.num_plain + other.num_plain,
            self.num_tokens + other.num_tokens,
            self.num_offered + other.num_offered,
            self.num_accepted + other.num_accepted,
            self.accepted + other.accepted,
        )

    def counters(self) -> dict[str, float]:
        """mean_acceptance_length: tokens per sweep that carried a draft. acceptance_histogram_N: how many drafts
        stood up to place N. tokens_per_sweep: of all sweeps of the answers."""
        offered, accepted = self.num_offered, self.num_accepted
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
        stood_to = 0
        for place in range(max(self.accepted, default=0), 0, -1):
            stood_to += self.accepted[place]
            counters[f"acceptance_histogram_{place}"] = stood_to
        return {name: float(value) for name, value in counters.items()}
