"""One answer in the making: its state in the model, its sampler, its text.

What is swept of it is always a block: the newest token, and behind it (with a drafter) tokens that are guessed to
follow. `accept` samples position by position and goes on while the guesses are right; plain decoding is the block of
width 1, and takes the same path. Nobody else writes to a choice: it is begun, carries guesses, lands and is closed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vortex.decode.drafting.answer_drafts import AnswerDrafts
from vortex.decode.drafting.block_decoding import BlockDecoding
from vortex.decode.drafting.drafter import AnswerSoFar
from vortex.decode.logprobs import chosen_and_top, rough_entropy_nats
from vortex.decode.loops import LOOP_NOTE, LoopWatch
from vortex.decode.sampler import SamplerState
from vortex.engine.answer_text import AnswerText
from vortex.protocols import Tokenizer
from vortex.types import Adapter, FinishReason, SequenceState, Span, TokenLogprob, Want, hash_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """When an answer ends, beside stop strings and constraints. end_ids: empty where they are ignored."""

    max_tokens: int
    min_tokens: int = 0
    end_ids: frozenset[int] = frozenset()
    watch_loops: bool = False


@dataclass(frozen=True, slots=True)
class Landed:
    """What a sweep's rows became. tokens: sampled from them; all but the last stood in the block as guesses.
    entropy: nats, of the last one's row; None where it is not measured."""

    tokens: Sequence[int]
    entropy: float | None


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
        adapter: Adapter | None = None,
    ) -> None:
        self.state: SequenceState | None = None  # set when the prompt has been swept
        self.drafts: AnswerDrafts | None = None  # what guesses ahead, where that is done
        self.block: list[int] = []
        self.num_tokens = 0
        self.num_sweeps = 0
        self.entropy_nats = 0.0  # summed over the answer's tokens, where it is measured
        self.finish_reason: FinishReason | None = None
        self.note = ""  # for people, where the end wants a word
        self.text = text
        self.sampler = sampler
        self._ending = ending
        self._loops = LoopWatch() if ending.watch_loops else None
        self._tokenizer = tokenizer
        self._top_logprobs = top_logprobs
        self._entropy_top_k = entropy_top_k
        self._adapter = adapter

    def begin(self, state: SequenceState, logits: np.ndarray) -> Landed:
        """The prompt is swept: `state` is the answer's from now on, the first token comes from the last row."""
        self.state = state
        return self.accept(logits)

    def drafts_by(self, blocks: BlockDecoding, prompt_ids: Sequence[int]) -> AnswerDrafts:
        """What guesses ahead; made when it is first asked for."""
        if self.drafts is None:
            self.drafts = blocks.begin(AnswerSoFar([*prompt_ids, *self.block], self.sampler, hash_of(self._adapter)))
        return self.drafts

    def carry(self, guesses: Sequence[int]) -> None:
        """These ride behind the newest token."""
        self.block = [self.block[0], *guesses]

    def span(self) -> Span:
        """The block; with guesses in it every position's logits are needed."""
        assert self.state is not None, "a finished answer is not swept"
        want = Want.LAST_LOGITS if len(self.block) == 1 else Want.ALL_LOGITS
        return Span(self.state, self.block, want, self._adapter)

    def land(self, logits: np.ndarray) -> Landed:
        """The block was swept: what stands of it is sampled, appended and committed."""
        assert self.state is not None, "a finished answer is not swept"
        self.num_sweeps += 1
        landed = self.accept(logits)
        self.state.commit(len(landed.tokens))
        return landed

    def accept(self, logits: np.ndarray) -> Landed:
        """Sample from the rows of a swept block (or the last row of a prompt) and append to the answer.

        logits: [positions, vocab] float32. As many of the block's tokens stand as come back: the newest one always
        does, and each guess behind it that equals what was sampled before it.
        """
        sampled: list[int] = []
        entropy = None
        for num_kept, row in enumerate(logits, start=1):
            token_id = self.sampler.choose(row)
            self.sampler.advance(token_id)
            entropy = self._append(token_id, row)
            sampled.append(token_id)
            if self.finish_reason or num_kept >= len(self.block) or self.block[num_kept] != token_id:
                break
        self.block = sampled[-1:]
        return Landed(sampled, entropy)

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

    def _append(self, token_id: int, row: np.ndarray) -> float | None:
        """The row's entropy, where it is measured."""
        self.num_tokens += 1
        entropy = rough_entropy_nats(row, self._entropy_top_k) if self._entropy_top_k else None
        self.entropy_nats += entropy or 0.0
        if token_id in self._ending.end_ids:
            self.finish(FinishReason.STOP)
            return entropy
        self.text.push(token_id, self._logprob(token_id, row), may_stop=self.num_tokens > self._ending.min_tokens)
        if self.text.stopped or self.sampler.is_finished:
            self.finish(FinishReason.STOP)
        elif self.num_tokens >= self._ending.max_tokens:
            self.finish(FinishReason.LENGTH)
        elif self._loops is not None and self._loops.push(token_id) and self.num_tokens > self._ending.min_tokens:
            self.note = LOOP_NOTE
            self.finish(FinishReason.STOP)
        return entropy

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
