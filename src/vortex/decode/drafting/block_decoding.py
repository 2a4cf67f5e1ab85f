"""The door to drafting: begins an answer's drafts, has blocks chosen for a sweep, and counts the time that takes."""

from __future__ import annotations

import time
from collections.abc import Sequence

from vortex.decode.drafting.acceptance import SamplingKind
from vortex.decode.drafting.answer_drafts import AnswerDrafts
from vortex.decode.drafting.bad import Guess, Price, choose_blocks
from vortex.decode.drafting.books import DraftBooks
from vortex.decode.drafting.drafter import AnswerSoFar, Drafter


class BlockDecoding:
    """Drafting of one engine. Belongs to its thread; another may read `counters`."""

    def __init__(self, drafters: Sequence[Drafter], vocab_size: int) -> None:
        self._books = DraftBooks(drafters, vocab_size)

    def begin(self, answer: AnswerSoFar) -> AnswerDrafts:
        """answer: prompt and first token. Costs some microseconds a token."""
        paths = [path for source in self._books.sources if (path := source.begin(answer)) is not None]
        options = answer.sampler.options
        penalised = (options.repetition_penalty, options.presence_penalty, options.frequency_penalty) != (1.0, 0.0, 0.0)
        kind = SamplingKind(penalised, options.temperature > 0)
        return AnswerDrafts(self._books, paths, kind)

    def choose_blocks(self, answers: Sequence[AnswerDrafts], limits: Sequence[int], price: Price) -> list[Guess]:
        """What to put on board behind the newest token of each answer, at most `limits` tokens each."""
        started = time.perf_counter()
        guesses = choose_blocks(answers, limits, price)
        if any(guess.token_ids for guess in guesses):
            self._books.priced(price, len(answers))
        spent_s = time.perf_counter() - started
        self._books.draft_s += spent_s
        for answer in answers:
            answer.spent_s += spent_s / len(answers)
        return guesses

    def counters(self) -> dict[str, float]:
        """Totals for a status."""
        return self._books.counters()
