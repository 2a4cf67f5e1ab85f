"""BAD, blockwise adaptive decoding: several tokens from one sweep, and the same answer as from one at a time.

`choose_blocks` is the algorithm. Before a sweep every answer guesses what follows; each guess has a probability that it
and all before it stand; all answers' guesses are put on one list, likeliest first, and bought from the top while the
sweep then gives more tokens a second. Who guesses, and what is learned, is beside: answer_drafts.py. What stands is
decided elsewhere (engine/choice.py): a guess stands iff it equals the token that was sampled at its place, with noise
that depends on the place alone. So no guess, however wrong, can change an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

MARGIN = 1.1  # a block must promise this much more than plain decoding: of many guesses the luckiest estimate is bought
HOPELESS = 0.8  # of the best rate, where looking further down the list ends

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


class Guessing(Protocol):
    """An answer, to `choose_blocks`."""

    def guess(self, limit: int) -> Guess:
        """At most `limit` tokens that may follow its newest one."""
        ...


def choose_blocks(answers: Sequence[Guessing], limits: Sequence[int], price: Price) -> list[Guess]:
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
