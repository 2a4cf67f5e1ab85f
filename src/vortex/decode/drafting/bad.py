"""BAD, blockwise adaptive decoding: several tokens from one sweep, and the same answer as from one at a time.

`choose_blocks` is the algorithm. Before a sweep every answer's drafters guess what follows; each guess has a learned
probability that it and all before it stand; all answers' guesses are put on one list, likeliest first, and bought from
the top while the sweep then gives more tokens a second. After the sweep `AnswerDrafts.settle` learns from what was
sampled. What stands is decided elsewhere (engine/choice.py): a guess stands iff it equals the token that was sampled at
its place, with noise that depends on the place alone. So no guess, however wrong, can change an answer.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from vortex.decode.drafting.acceptance import (
    ALONE,
    DISPUTED,
    ENTROPY_EDGES_NATS,
    SECONDED,
    Acceptance,
    SamplingKind,
    surroundings_of,
)
from vortex.decode.drafting.account import CREDIT, LIKELY, DraftAccount, next_credit
from vortex.decode.drafting.counts import DraftCounts
from vortex.decode.drafting.drafter import AnswerSoFar, Drafter, Proposal
from vortex.decode.drafting.sources import Source, WatchedPath

MARGIN = 1.1  # a block must promise this much more than plain decoding: of many guesses the luckiest estimate is bought
HOPELESS = 0.8  # of the best rate, where looking further down the list ends
LEAST_REACH = 0.02  # guesses less likely than this to be reached are not even priced
MAX_HOPS = 4  # chains of how many drafters are put one behind the other
DEFAULT_PRIOR = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
PRIORS: Mapping[str, Sequence[float]] = {
    "suffix": (0.05, 0.2, 0.4, 0.6, 0.75, 0.8, 0.85, 0.9, 0.93, 0.95),
    "history": (0.05, 0.1, 0.2, 0.35, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9),
    "adjacency": (0.05, 0.2, 0.5, 0.6, 0.7, 0.8),
}

Price = Callable[[int], float]
"""Seconds of the coming sweep with that many guesses on board beside all that rides anyway."""


@dataclass(slots=True)
class Guess:
    """A chain of tokens for one answer. reach: for each, the probability that it and all before it stand. sources: who
    named it."""

    token_ids: list[int] = field(default_factory=list)
    reach: list[float] = field(default_factory=list)
    sources: list[int] = field(default_factory=list)

    def cut(self, width: int) -> Guess:
        return Guess(self.token_ids[:width], self.reach[:width], self.sources[:width])


def choose_blocks(answers: Sequence[AnswerDrafts], limits: Sequence[int], price: Price) -> list[Guess]:
    """What to put on board behind the newest token of each answer, at most `limits` tokens each."""
    guesses = [answer.guess(limit) for answer, limit in zip(answers, limits, strict=True)]
    offers = sorted(((reach, index) for index, guess in enumerate(guesses) for reach in guess.reach), key=_dearest_last)
    if not offers:
        return guesses
    widths = bought = [0] * len(answers)
    expected_tokens = float(len(answers))  # the sweep gives each answer a token anyway
    best_rate = MARGIN * expected_tokens / price(0)
    for num_guesses, (reach, index) in enumerate(offers, start=1):
        widths = [width + (answer == index) for answer, width in enumerate(widths)]
        expected_tokens += reach
        rate = expected_tokens / price(num_guesses)
        if rate > best_rate:
            best_rate, bought = rate, widths
        elif rate < HOPELESS * best_rate:
            break  # what follows is less likely still
    return [guess.cut(width) for guess, width in zip(guesses, bought, strict=True)]


def _dearest_last(offer: tuple[float, int]) -> float:
    return -offer[0]  # sorting is stable, so the guesses of a chain stay in their order


class BlockDecoding:
    """What an engine knows about drafting. `counts`: totals of all its answers."""

    def __init__(self, drafters: Sequence[Drafter], vocab_size: int) -> None:
        self.vocab_size = vocab_size
        self.sources = [Source(number, drafter) for number, drafter in enumerate(drafters)]
        self.acceptance = Acceptance([PRIORS.get(drafter.name, DEFAULT_PRIOR) for drafter in drafters] or [(0.0,)])
        self.counts = DraftCounts()
        self.draft_s = 0.0
        self.num_pauses = 0
        self.least_reach = LEAST_REACH
        self.credits: defaultdict[SamplingKind, float] = defaultdict(lambda: CREDIT)

    def begin(self, answer: AnswerSoFar) -> AnswerDrafts:
        """answer: prompt and first token. Costs some microseconds a token."""
        paths = [path for source in self.sources if (path := source.begin(answer)) is not None]
        options = answer.sampler.options
        penalised = (options.repetition_penalty, options.presence_penalty, options.frequency_penalty) != (1.0, 0.0, 0.0)
        kind = SamplingKind(penalised, options.temperature > 0)
        return AnswerDrafts(self, paths, kind)

    def choose_blocks(self, answers: Sequence[AnswerDrafts], limits: Sequence[int], price: Price) -> list[Guess]:
        started = time.perf_counter()
        guesses = choose_blocks(answers, limits, price)
        if any(guess.token_ids for guess in guesses):  # prices are known: half a row's worth is the least to look at
            self.least_reach = max(LEAST_REACH, 0.5 * (price(1) / price(0) - 1) * len(answers))
        spent_s = time.perf_counter() - started
        self.draft_s += spent_s
        for answer in answers:
            answer.spent_s += spent_s / len(answers)
        return guesses

    def counters(self) -> dict[str, float]:
        """Totals for a status."""
        failures = sum(source.failures for source in self.sources)
        bad_ids = sum(source.bad_ids for source in self.sources)
        rests = sum(source.rests for source in self.sources)
        watched = {"drafter_failures": failures, "drafter_bad_ids": bad_ids, "drafter_rests": rests}
        drafting = {"draft_ms": 1e3 * self.draft_s, "draft_pauses": self.num_pauses}
        return {**self.counts.counters(), **drafting, **watched}


class AnswerDrafts:
    """The drafts of one answer. `counts`: how they fared. `spent_s`: on drafting since the last sweep."""

    def __init__(self, blocks: BlockDecoding, paths: Sequence[WatchedPath], kind: SamplingKind) -> None:
        self.counts = DraftCounts()
        self.spent_s = 0.0
        self._blocks = blocks
        self._paths = paths
        self._kind = kind
        self._acceptance = blocks.acceptance.of_answer(kind)
        self._account = DraftAccount(blocks.credits[kind])
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
        for counts in (self.counts, self._blocks.counts):
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
            self._blocks.sources[number].earned(plain_s)
        self._tell(sweep_s)
        settling_s = time.perf_counter() - started
        self._blocks.draft_s += settling_s
        if self._account.settle(num_stood, (len(guess.token_ids) * guess_s + self.spent_s + settling_s) / plain_s):
            self._blocks.num_pauses += 1
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
        probability_of, reach, least_reach = self._acceptance.probability, 1.0, self._blocks.least_reach
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
        self._blocks.credits[self._kind] = next_credit(self._blocks.credits[self._kind], self._account.gain)

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
            proposal = path.propose(ahead, limit, self._blocks.vocab_size)
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
