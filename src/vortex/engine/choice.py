"""One answer in the making: its state in the model, its sampler, its text.

What is swept of it is always a block: the newest token, and behind it (with a drafter) tokens that are guessed to
follow. `accept` samples position by position and goes on while the guesses are right; plain decoding is the block of
width 1, and takes the same path.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vortex.decode.drafting.bad import AnswerDrafts
from vortex.decode.logprobs import chosen_and_top, rough_entropy_nats
from vortex.decode.sampler import SamplerState
from vortex.engine.answer_text import AnswerText
from vortex.protocols import Tokenizer
from vortex.types import FinishReason, SequenceState, TokenLogprob


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """When an answer ends, beside stop strings and constraints. end_ids: empty where they are ignored."""

    max_tokens: int
    min_tokens: int = 0
    end_ids: frozenset[int] = frozenset()


class Choice:
    def __init__(
        self,
        *,
        sampler: SamplerState,
        text: AnswerText,
        ending: Ending,
        tokenizer: Tokenizer,
        top_logprobs: int | None,
        entropy_top_k: int = 0,
    ) -> None:
        self.state: SequenceState | None = None  # set when the prompt has been swept
        self.drafts: AnswerDrafts | None = None  # what guesses ahead, where that is done
        self.sampled: list[int] = []  # the last sweep's tokens
        self.newest_entropy_nats: float | None = None
        self.block: list[int] = []
        self.num_tokens = 0
        self.num_sweeps = 0
        self.entropy_nats = 0.0  # summed over the answer's tokens, where it is measured
        self.finish_reason: FinishReason | None = None
        self.text = text
        self.sampler = sampler
        self._ending = ending
        self._tokenizer = tokenizer
        self._top_logprobs = top_logprobs
        self._entropy_top_k = entropy_top_k

    def accept(self, logits: np.ndarray) -> int:
        """Sample from the rows of a swept block (or the last row of a prompt) and append to the answer.

        logits: [positions, vocab] float32. Returns how many of the block's tokens stand: the newest one always does,
        and each guess behind it that equals what was sampled before it.
        """
        self.sampled = []
        for num_kept, row in enumerate(logits, start=1):
            token_id = self.sampler.choose(row)
            self.sampler.advance(token_id)
            self._append(token_id, row)
            self.sampled.append(token_id)
            if self.finish_reason or num_kept >= len(self.block) or self.block[num_kept] != token_id:
                break
        self.block = [token_id]
        return num_kept

    def finish(self, reason: FinishReason) -> None:
        """The answer ends here; what was held back comes out, unless a stop string ended it."""
        self.finish_reason = reason
        if not self.text.stopped:
            self.text.finish()

    @property
    def left_tokens(self) -> int:
        """Tokens that the answer may still have."""
        return self._ending.max_tokens - self.num_tokens

    def close(self) -> None:
        if self.drafts is not None:
            self.drafts.close()
        if self.state is not None:
            self.state.close()
            self.state = None

    def _append(self, token_id: int, row: np.ndarray) -> None:
        self.num_tokens += 1
        if self._entropy_top_k:
            self.newest_entropy_nats = rough_entropy_nats(row, self._entropy_top_k)
            self.entropy_nats += self.newest_entropy_nats
        if token_id in self._ending.end_ids:
            self.finish(FinishReason.STOP)
            return
        self.text.push(token_id, self._logprob(token_id, row), may_stop=self.num_tokens > self._ending.min_tokens)
        if self.text.stopped or self.sampler.is_finished:
            self.finish(FinishReason.STOP)
        elif self.num_tokens >= self._ending.max_tokens:
            self.finish(FinishReason.LENGTH)

    def _logprob(self, token_id: int, row: np.ndarray) -> TokenLogprob | None:
        if self._top_logprobs is None:
            return None
        chosen, top = chosen_and_top(row, token_id, self._top_logprobs)
        return TokenLogprob(
            token_id,
            self._tokenizer.token_bytes(token_id),
            chosen,
            tuple(TokenLogprob(other, self._tokenizer.token_bytes(other), logprob) for other, logprob in top),
        )
