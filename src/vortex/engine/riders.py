"""What rides in a sweep: a chunk of a prompt, or a block of an answer.

Each knows its span and what to do with its rows; `land` returns what was sampled from them, by answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vortex.engine.choice import Choice, Landed
from vortex.engine.job import Job
from vortex.engine.prefix_cache import PrefixCache
from vortex.engine.scheduler import Chunk, Ticket
from vortex.types import Span, hash_of


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
        return Span(job.prompt_state, token_ids, job.want(is_last=self.chunk.is_last), job.adapter)

    def land(self, logits: np.ndarray, hidden: np.ndarray | None) -> Sequence[Landed]:
        job, state = self.ticket.job, self.ticket.job.prompt_state
        state.commit(self.chunk.stop - self.chunk.start)
        self.ticket.swept_tokens = self.chunk.stop
        if job.shares_prefix:
            self.prefixes.offer(job.prompt_ids, state, hash_of(job.adapter))
        return job.receive_prompt(logits, hidden, is_last=self.chunk.is_last)


@dataclass(frozen=True, slots=True)
class BlockRider:
    """The newest token of an answer and what is drafted behind it."""

    ticket: Ticket[Job]
    choice: Choice

    def span(self) -> Span:
        return self.choice.span()

    def land(self, logits: np.ndarray, hidden: np.ndarray | None) -> Sequence[Landed]:
        return (self.choice.land(logits),)


Rider = PromptRider | BlockRider
