"""What drafting has brought one answer, minus what it took: below nothing it pauses, so that it cannot cost much.

Counted in plain sweeps of the answer (the time a token takes without drafts). A guess that stands brings one. What a
sweep took longer for its guesses is spent, and so is the time of looking up, pricing and learning. Every answer begins
with a small credit, smaller where the answers before it lost theirs. When the balance falls below nothing, drafting
pauses, each time twice as long, until it earns again. While it pauses it looks up now and then, and wakes early where a
guess is likely: on no credit, so one wrong block ends it.

So an answer of n tokens loses at most CREDIT + WAKING_CREDIT * log2(n / FIRST_PAUSE_TOKENS) sweeps and the last block
of each stretch, whatever the drafters and the prices promise; where every early waking is wrong too, there are about
twice as many stretches.
"""

from __future__ import annotations

CREDIT = 1.0
LEAST_CREDIT = 0.1
WAKING_CREDIT = 0.3
MOST = 6.0  # what was earned long ago does not pay for what is lost now
FIRST_PAUSE_TOKENS = 16
LONGEST_PAUSE_TOKENS = 4096
LOOKS = 16  # in a pause, but not more often than ...
LEAST_TOKENS_BETWEEN_LOOKS = 4
LIKELY = 0.6


class DraftAccount:
    """`balance`: in plain sweeps. `gain`: the same over the whole answer, without credit."""

    def __init__(self, credit: float = CREDIT) -> None:
        self.balance = credit
        self.gain = 0.0
        self._waking_credit = min(credit, WAKING_CREDIT)
        self._paused_tokens = 0  # left
        self._next_pause_tokens = FIRST_PAUSE_TOKENS
        self._look_tokens = 0  # until the next look in a pause

    @property
    def is_paused(self) -> bool:
        return self._paused_tokens > 0

    def settle(self, num_stood: int, spent_sweeps: float) -> bool:
        """A sweep outside a pause. True: a pause begins."""
        self.gain += num_stood - spent_sweeps
        self.balance = min(self.balance + num_stood - spent_sweeps, MOST)
        if self.balance >= CREDIT:
            self._next_pause_tokens = FIRST_PAUSE_TOKENS
        if self.balance >= 0:
            return False
        self._paused_tokens = self._next_pause_tokens
        self._next_pause_tokens = min(2 * self._next_pause_tokens, LONGEST_PAUSE_TOKENS)
        self._look_tokens = self._tokens_between_looks()
        return True

    def sit_out(self, num_tokens: int) -> bool:
        """Tokens came in a pause. True: it is over, or time for a look."""
        self._paused_tokens -= num_tokens
        self._look_tokens -= num_tokens
        if self._paused_tokens <= 0:
            self.balance = self._waking_credit
            return True
        if self._look_tokens <= 0:
            self._look_tokens = self._tokens_between_looks()
            return True
        return False

    def wake(self) -> None:
        """A look in a pause found something likely."""
        self._paused_tokens = 0
        self.balance = 0.0

    def _tokens_between_looks(self) -> int:
        return max(self._paused_tokens // LOOKS, LEAST_TOKENS_BETWEEN_LOOKS)


def next_credit(credit: float, gain: float) -> float:
    """Of the next answer, when one that began with `credit` gained so much."""
    return CREDIT if gain > 0 else max(credit / 2, LEAST_CREDIT)
