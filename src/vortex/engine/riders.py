"""What rides in a sweep: a chunk of a prompt, or a block of an answer.

Each knows its span and what to do with its rows; `land` returns how many tokens were sampled from them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vortex.engine.choice import Choice
from vortex.engine.job import Job
from vortex.engine.prefix_cache import PrefixCache
from vortex.engine.scheduler import Chunk, Ticket
from vortex.types import Span, Want


@dataclass(frozen=True, slots=True)
class PromptRider:
    chunk: Chunk[Job]
    prefixes: PrefixCache

    @property
    def ticket(self) -> Ticket[Job]:
        return self.chunk.ticket

    def span(self) -> Span:
        job = self.ticket.job
        token_ids = job.prompt_ids[self.chunk.start : self.chunk.stop]
        return Span(job.prompt_state, token_ids, job.want(is_last=self.chunk.is_last))

    def land(self, logits: np.ndarray, hidden: np.ndarray | None) -> int:
        job, state = self.ticket.job, self.ticket.job.prompt_state
        state.commit(self.chunk.stop - self.chunk.start)
        self.ticket.swept_tokens = self.chunk.stop
        if job.shares_prefix:
            self.prefixes.offer(job.prompt_ids, state)
        job.receive_prompt(logits, hidden, is_last=self.chunk.is_last)
        return len(job.choices) if self.chunk.is_last else 0


@dataclass(frozen=True, slots=True)
class BlockRider:
    """The newest token of an answer and what is drafted behind it; of a draft every position's logits are needed."""

    ticket: Ticket[Job]
    choice: Choice

    def span(self) -> Span:
        assert self.choice.state is not None, "a finished answer is not swept"
        want = Want.LAST_LOGITS if len(self.choice.block) == 1 else Want.ALL_LOGITS
        return Span(self.choice.state, self.choice.block, want)

    def land(self, logits: np.ndarray, hidden: np.ndarray | None) -> int:
        state = self.choice.state
        assert state is not None, "a finished answer is not swept"
        self.choice.num_sweeps += 1
        num_kept = self.choice.accept(logits)
        state.commit(num_kept)
        return num_kept


Rider = PromptRider | BlockRider
