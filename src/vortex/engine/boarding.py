"""Puts guesses behind the newest tokens of the answers that ride in the coming sweep, and tells drafters how it went.

Between decode/drafting/, which knows guesses and what they are worth, and the sweep loop, which knows riders. Belongs
to the engine's thread.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from vortex.decode.drafting.bad import Price
from vortex.decode.drafting.block_decoding import BlockDecoding
from vortex.engine.choice import Choice, Landed
from vortex.engine.riders import BlockRider, PromptRider, Rider
from vortex.protocols import LanguageModel
from vortex.types import Span, SweepCost, SweepOutput

GUESSED_BYTES_PER_S = 10e9  # for models that do not say how long a sweep takes: any memory, ...
GUESSED_FETCHED_BYTES_PER_S = 1e9  # ... any disk ...
GUESSED_FLOPS = 200e9  # ... and any two cores


class Boarding:
    """max_block: most tokens of one answer in one sweep, the newest included."""

    def __init__(self, model: LanguageModel, blocks: BlockDecoding, max_block: int) -> None:
        self.blocks = blocks
        self._model = model
        self._max_block = max_block
        self._prices: dict[int, float] = {}  # of the sweep under way, by its number of guesses: those that were asked
        self._num_guesses = 0

    def board(self, riders: Sequence[Rider]) -> None:
        """Give every answer among the riders its block."""
        self._prices, self._num_guesses = {}, 0
        blocks = [rider for rider in riders if isinstance(rider, BlockRider)]
        answers = [rider.choice.drafts_by(self.blocks, rider.ticket.job.prompt_ids) for rider in blocks]
        if all(answer.is_idle for answer in answers):
            return
        limits = [self._limit(rider.choice) for rider in blocks]
        guesses = self.blocks.choose_blocks(answers, limits, self._price(riders))
        for rider, answer, guess in zip(blocks, answers, guesses, strict=True):
            rider.choice.carry(answer.board(guess))
            self._num_guesses += len(guess.token_ids)

    def settle(
        self, riders: Sequence[Rider], landed: Sequence[Sequence[Landed]], output: SweepOutput, sweep_s: float
    ) -> None:
        """The sweep's rows have become tokens: `landed`, by rider and answer."""
        num_answers = sum(isinstance(rider, BlockRider) for rider in riders)
        plain_s = self._prices.get(0, sweep_s)
        guess_s = self._extra_s(riders, sweep_s) / self._num_guesses if self._num_guesses else 0.0
        for rider, answers, rows in zip(riders, landed, output.logits_rows, strict=True):
            if not isinstance(rider, BlockRider) or not rider.ticket.slots or rider.choice.drafts is None:
                continue
            (answer,), drafts = answers, rider.choice.drafts
            drafts.settle(
                answer.tokens,
                sweep_s=sweep_s / num_answers,
                plain_s=plain_s / num_answers,
                guess_s=guess_s,
                entropy_nats=answer.entropy,
            )
            if (heads := output.draft_logits) is not None:
                row = rows.start + len(answer.tokens) - 1
                drafts.receive_heads(functools.partial(heads.__getitem__, row))

    def _extra_s(self, riders: Sequence[Rider], sweep_s: float) -> float:
        """What the guesses of a sweep took: by the clock, but not less than their price, which knows what a wide sweep
        does to those behind it, and not more than twice that (the machine had something else to do). By price alone
        where a prompt's chunk rode along, whose time no model knows as well."""
        price_s = self._prices[self._num_guesses] - self._prices[0]
        if any(isinstance(rider, PromptRider) for rider in riders):
            return price_s
        return max(min(sweep_s - self._prices[0], 2 * price_s), price_s)

    def _limit(self, choice: Choice) -> int:
        """Guesses that can be of use: within the block, the answer's limit and the context."""
        limits = [self._max_block - 1, choice.left_tokens - 1]
        if self._model.context_length is not None and choice.state is not None:
            limits.append(self._model.context_length - choice.state.length - 1)
        return max(min(limits), 0)

    def _price(self, riders: Sequence[Rider]) -> Price:
        known = self._prices
        spans: list[Span] = []

        def price(num_guesses: int) -> float:
            if num_guesses not in known:
                if not spans:
                    spans.extend(rider.span() for rider in riders)
                guesses = [Span(spans[0].state, range(num_guesses))] if num_guesses else []
                known[num_guesses] = seconds_of(self._model.sweep_cost([*spans, *guesses]))
            return known[num_guesses]

        return price


def seconds_of(cost: SweepCost) -> float:
    """What a sweep takes: as the model knows, else by what any machine gives."""
    if cost.seconds is not None:
        return cost.seconds
    computing_s = cost.bytes_to_read / GUESSED_BYTES_PER_S + cost.flops / GUESSED_FLOPS
    return max(cost.bytes_to_fetch / GUESSED_FETCHED_BYTES_PER_S, computing_s) or 1.0
