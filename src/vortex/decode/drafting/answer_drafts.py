"""The drafts of one answer: its drafters' guesses made into one chain, and what became of them.

Before a sweep `guess` gives the likeliest chain; after it `settle` learns from what was sampled, pays for the time, and
tells the drafters what stands. An answer that loses by it pauses (account.py).
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Sequence

import numpy as np

from vortex.decode.drafting.acceptance import (
    ALONE,
    DISPUTED,
    ENTROPY_EDGES_NATS,
    SECONDED,
    SamplingKind,
    surroundings_of,
)
from vortex.decode.drafting.account import LIKELY, DraftAccount, next_credit
from vortex.decode.drafting.bad import Guess
from vortex.decode.drafting.books import DraftBooks
from vortex.decode.drafting.counts import DraftCounts
from vortex.decode.drafting.drafter import Proposal
from vortex.decode.drafting.sources import WatchedPath

MAX_HOPS = 4  # chains of how many drafters are put one behind the other


class AnswerDrafts:
    """The drafts of one answer. `counts`: how they fared. `spent_s`: on drafting since the last sweep."""

    def __init__(self, books: DraftBooks, paths: Sequence[WatchedPath], kind: SamplingKind) -> None:
        self.counts = DraftCounts()
        self.spent_s = 0.0
        self._books = books
        self._paths = paths
        self._kind = kind
        self._acceptance = books.acceptance.of_answer(kind)
        self._account = DraftAccount(books.credits[kind])
        self._is_looking = False  # in a pause: the next guess is made, and taken if it is likely
        self._untold: list[int] = []  # tokens that stand and that the drafters do not know yet
        self._surroundings = _SURROUNDINGS[None]
        self._on_board = _NO_GUESS

    @property
    def is_idle(self) -> bool:
        """Nothing will be guessed for the coming sweep."""
        return self._account.is_paused and not self._is_looking

    def guess(self, limit: int) -> Guess:
        """The best chain the drafters give together: the likeliest next token's drafter leads until it ends. Nothing
        in a pause."""
        if not self._account.is_paused:
            return self._chain(limit)
        if not self._is_looking:
            return _NO_GUESS
        self._is_looking = False
        guess = self._chain(limit)
        if not guess.reach or guess.reach[0] < LIKELY:
            return _NO_GUESS
        self._account.wake()
        return guess

    def board(self, guess: Guess) -> list[int]:
        """The guess rides in the coming sweep."""
        self._on_board = guess
        return guess.token_ids

    def settle(
        self,
        sampled: Sequence[int],
        *,
        sweep_s: float,
        plain_s: float,
        guess_s: float = 0.0,
        entropy_nats: float | None = None,
    ) -> None:
        """What the sweep gave: the guesses that stood, and one token more. Of the sweep's time `sweep_s` are this
        answer's; without any guesses `plain_s` would have been. guess_s: what each guess on board took. entropy_nats:
        of the newest token's row."""
        started = time.perf_counter()
        guess, self._on_board = self._on_board, _NO_GUESS
        num_stood = len(sampled) - 1
        for counts in (self.counts, self._books.counts):
            counts.add(len(guess.token_ids), num_stood)
        self._untold += sampled
        self._acceptance.judge(sampled)
        if self._account.is_paused:
            self._is_looking = self._account.sit_out(len(sampled))
            if not self._is_looking:
                return
            self._surroundings = _surroundings(entropy_nats)
            self._tell(sweep_s)
            return
        self._surroundings = _surroundings(entropy_nats)
        for number in guess.sources[:num_stood]:
            self._books.sources[number].earned(plain_s)
        self._tell(sweep_s)
        settling_s = time.perf_counter() - started
        self._books.draft_s += settling_s
        if self._account.settle(num_stood, (len(guess.token_ids) * guess_s + self.spent_s + settling_s) / plain_s):
            self._books.num_pauses += 1
            self._is_looking = False
        self.spent_s = 0.0

    def _tell(self, sweep_s: float) -> None:
        """The drafters get the tokens that they do not know yet."""
        untold, self._untold = self._untold, []
        for path in self._paths:
            path.source.swept(sweep_s)
            path.extend(untold)

    def _chain(self, limit: int) -> Guess:
        guess = Guess()
        probability_of, reach, least_reach = self._acceptance.probability, 1.0, self._books.least_reach
        for hop in range(MAX_HOPS):
            lead = self._lead(guess.token_ids, limit - len(guess.token_ids), is_first=hop == 0)
            if lead is None:
                break
            source, proposal, surroundings = lead
            for token_id, evidence in zip(proposal.token_ids, proposal.evidence, strict=True):
                reach *= probability_of(source, evidence, len(guess.token_ids), surroundings)
                if reach < least_reach:
                    return guess
                guess.token_ids.append(token_id)
                guess.reach.append(reach)
                guess.sources.append(source)
        return guess

    def receive_heads(self, head_logits: Callable[[], np.ndarray]) -> None:
        """Gives the logits of the model's further heads at the newest token's row, float32 [heads, vocab]."""
        if self._account.is_paused and not self._is_looking:
            return
        started = time.perf_counter()
        for path in self._paths:
            path.receive_heads(head_logits)
        self.spent_s += time.perf_counter() - started

    def close(self) -> None:
        for path in self._paths:
            path.extend(self._untold)
            path.close()
        self._books.credits[self._kind] = next_credit(self._books.credits[self._kind], self._account.gain)

    def _lead(self, ahead: Sequence[int], limit: int, *, is_first: bool) -> tuple[int, Proposal, int] | None:
        """(source, proposal, surroundings) of the proposal whose first token is likeliest."""
        proposals = self._proposals(ahead, limit)
        lead: tuple[int, Proposal, int] | None = None
        best_probability = 0.0
        for number, proposal in proposals:
            surroundings = self._surroundings[_opinion(number, proposal, proposals)]
            if is_first:
                self._acceptance.watch(number, proposal, surroundings)
            probability = self._acceptance.probability(number, proposal.evidence[0], len(ahead), surroundings)
            if probability > best_probability:
                lead, best_probability = (number, proposal, surroundings), probability
        return lead

    def _proposals(self, ahead: Sequence[int], limit: int) -> list[tuple[int, Proposal]]:
        """By source. Dear drafters are asked where no cheap one has anything."""
        proposals: list[tuple[int, Proposal]] = []
        for path in self._paths if limit > 0 else ():
            if path.source.drafter.is_dear and proposals:
                continue
            proposal = path.propose(ahead, limit, self._books.vocab_size)
            if proposal is not None:
                proposals.append((path.source.number, proposal))
        return proposals


_SURROUNDINGS = {
    bucket: [surroundings_of(bucket, opinion) for opinion in (ALONE, SECONDED, DISPUTED)]
    for bucket in (None, *range(len(ENTROPY_EDGES_NATS) + 1))
}
_NO_GUESS = Guess()


def _surroundings(entropy_nats: float | None) -> list[int]:
    """By opinion."""
    return _SURROUNDINGS[None if entropy_nats is None else bisect_right(ENTROPY_EDGES_NATS, entropy_nats)]


def _opinion(number: int, proposal: Proposal, proposals: Sequence[tuple[int, Proposal]]) -> int:
    """What the others say of its first token."""
    if len(proposals) == 1:
        return ALONE
    token_id = proposal.token_ids[0]
    for source, other in proposals:
        if source != number and other.token_ids[0] == token_id:
            return SECONDED
    return DISPUTED
