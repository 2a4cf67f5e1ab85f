"""BAD, blockwise adaptive decoding: several tokens from one sweep, and the same answer as from one at a time.

`choose_blocks` is the algorithm. Before a sweep every answer's drafters guess what follows; each guess has a learned
probability that it and all before it stand; all answers' guesses are put on one list, likeliest first, and bought from
the top while the sweep then gives more tokens a second. After the sweep `AnswerDrafts.settle` learns from what was
sampled. What stands is decided elsewhere (engine/choice.py): a guess stands iff it equals the token that was sampled at
its place, with noise that depends on the place alone. So no guess, however wrong, can change an answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from vortex.decode.acceptance import ALONE, DISPUTED, SECONDED, Acceptance, AnswerAcceptance, surroundings_of
from vortex.decode.draft_counts import DraftCounts
from vortex.decode.draft_sources import Source, WatchedPath
from vortex.decode.drafter import AnswerSoFar, Drafter, Proposal

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
    widths = bought = [0] * len(answers)
    expected_tokens = float(len(answers))  # the sweep gives each answer a token anyway
    best_rate = MARGIN * expected_tokens / price(0) if offers else 0.0
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
        self.least_reach = LEAST_REACH

    def begin(self, answer: AnswerSoFar) -> AnswerDrafts:
        """answer: prompt and first token. Costs some microseconds a token."""
        paths = [path for source in self.sources if (path := source.begin(answer)) is not None]
        options = answer.sampler.options
        penalised = (options.repetition_penalty, options.presence_penalty, options.frequency_penalty) != (1.0, 0.0, 0.0)
        acceptance = self.acceptance.of_answer(penalised=penalised, sampled=options.temperature > 0)
        return AnswerDrafts(self, paths, acceptance)

    def choose_blocks(self, answers: Sequence[AnswerDrafts], limits: Sequence[int], price: Price) -> list[Guess]:
        started = time.perf_counter()
        guesses = choose_blocks(answers, limits, price)
        if any(
            guess.token_ids for guess in guesses
        ):  # prices are known now: half a row's worth is the least to look at
            self.least_reach = max(LEAST_REACH, 0.5 * (price(1) / price(0) - 1) * len(answers))
        self.draft_s += time.perf_counter() - started
        return guesses

    def counters(self) -> dict[str, float]:
        """Totals for a status."""
        failures = sum(source.failures for source in self.sources)
        bad_ids = sum(source.bad_ids for source in self.sources)
        rests = sum(source.rests for source in self.sources)
        watched = {"drafter_failures": failures, "drafter_bad_ids": bad_ids, "drafter_rests": rests}
        return {**self.counts.counters(), "draft_ms": 1e3 * self.draft_s, **watched}


class AnswerDrafts:
    """The drafts of one answer. `counts`: how they fared."""

    def __init__(self, blocks: BlockDecoding, paths: Sequence[WatchedPath], acceptance: AnswerAcceptance) -> None:
        self.counts = DraftCounts()
        self._blocks = blocks
        self._paths = paths
        self._acceptance = acceptance
        self._surroundings = _surroundings(None)
        self._on_board = Guess()

    def guess(self, limit: int) -> Guess:
        """The best chain the drafters give together: the likeliest next token's drafter leads until it ends."""
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

    def board(self, guess: Guess) -> list[int]:
        """The guess rides in the coming sweep."""
        self._on_board = guess
        return guess.token_ids

    def settle(
        self, sampled: Sequence[int], *, sweep_s: float, plain_s: float, entropy_nats: float | None = None
    ) -> None:
        """What the sweep gave: the guesses that stood, and one token more. It took `sweep_s` (a share, where several
        answers rode); a sweep for one token would have taken `plain_s`. entropy_nats: of the newest token's row."""
        guess, self._on_board = self._on_board, Guess()
        num_stood = len(sampled) - 1
        for counts in (self.counts, self._blocks.counts):
            counts.add(len(guess.token_ids), num_stood)
        self._acceptance.judge(sampled)
        for path in self._paths:
            stood = guess.sources[:num_stood].count(path.source.number)
            path.source.swept(sweep_s, stood * plain_s)
            path.extend(sampled)
        self._surroundings = _surroundings(entropy_nats)

    def receive_heads(self, head_logits: Callable[[], np.ndarray]) -> None:
        """Gives the logits of the model's further heads at the newest token's row, float32 [heads, vocab]."""
        for path in self._paths:
            path.receive_heads(head_logits)

    def close(self) -> None:
        for path in self._paths:
            path.close()

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


def _surroundings(entropy_nats: float | None) -> list[int]:
    """By opinion."""
    return [surroundings_of(entropy_nats, opinion) for opinion in (ALONE, SECONDED, DISPUTED)]


def _opinion(number: int, proposal: Proposal, proposals: Sequence[tuple[int, Proposal]]) -> int:
    """What the others say of its first token."""
    if len(proposals) == 1:
        return ALONE
    token_id = proposal.token_ids[0]
    seconded = any(other.token_ids[0] == token_id for source, other in proposals if source != number)
    return SECONDED if seconded else DISPUTED
