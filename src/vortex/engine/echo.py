"""A prompt repeated before its answer, with the log-probability of each of its tokens where that is asked for.

Evaluation harnesses score given texts so: `echo`, `logprobs`, and no token of an answer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from vortex.decode.logprobs import chosen_and_top
from vortex.protocols import Tokenizer
from vortex.types import TextDelta, TokenLogprob


class Echo:
    """`is_all`: nothing comes after it. `top_logprobs` None: the text alone."""

    def __init__(
        self, *, text: str, prompt_ids: Sequence[int], tokenizer: Tokenizer, top_logprobs: int | None, is_all: bool
    ) -> None:
        self.is_all = is_all
        self._text = text
        self._prompt_ids = prompt_ids
        self._tokenizer = tokenizer
        self._top_logprobs = top_logprobs
        self._scored = [] if top_logprobs is None else [self._token(prompt_ids[0], math.nan)]

    @property
    def wants_logits(self) -> bool:
        return self._top_logprobs is not None

    def score(self, logits: np.ndarray) -> None:
        """logits: [positions, vocab] float32 of the prompt's next positions, from the first on."""
        for row in logits:
            if self._top_logprobs is None or len(self._scored) >= len(self._prompt_ids):
                return
            token_id = self._prompt_ids[len(self._scored)]
            chosen, top = chosen_and_top(row, token_id, self._top_logprobs)
            rivals = tuple(self._token(other, logprob) for other, logprob in top)
            self._scored.append(self._token(token_id, chosen, rivals))

    def delta(self, choice: int) -> TextDelta:
        return TextDelta(choice=choice, text=self._text, logprobs=tuple(self._scored))

    def _token(self, token_id: int, logprob: float, top: tuple[TokenLogprob, ...] = ()) -> TokenLogprob:
        return TokenLogprob(token_id, self._tokenizer.token_bytes(token_id), logprob, top)
