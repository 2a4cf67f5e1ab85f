"""Who rides in the next sweep. Pure Python: knows token counts and slots, neither models nor tensors.

A request waits in line, is admitted when all slots it needs are free, has its prompt swept chunk by chunk, and then
decodes in every sweep until it leaves. Promises:
- first come, first admitted; a full line is an Overloaded error;
- every sequence past its prompt rides in every sweep, however many prompts are coming in;
- prompts are cut at multiples of `chunk_tokens` counted from position 0, whatever else is running: the same request is
  cut the same way always, which is what makes its answer the same always (docs/engine.md);
- prompts take turns: nobody waits while others get two chunks.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

from vortex.errors import Overloaded

Job = TypeVar("Job")


@dataclass(eq=False, slots=True)
class Ticket(Generic[Job]):
    """A request in the scheduler's hands. `swept_tokens` of its prompt are in its state."""

    job: Job
    prompt_tokens: int
    slots: int = 1
    swept_tokens: int = 0

    @property
    def is_decoding(self) -> bool:
        return self.swept_tokens == self.prompt_tokens


@dataclass(frozen=True, slots=True)
class Chunk(Generic[Job]):
    """Prompt tokens [start, stop) of one request."""

    ticket: Ticket[Job]
    start: int
    stop: int

    @property
    def is_last(self) -> bool:
        return self.stop == self.ticket.prompt_tokens


@dataclass(frozen=True, slots=True)
class Plan(Generic[Job]):
    """One sweep: all decoding requests, and some chunks of prompts (at most one of each request)."""

    decoding: list[Ticket[Job]]
    chunks: list[Chunk[Job]]


class Scheduler(Generic[Job]):
    """Not thread-safe; the engine holds a lock around it."""

    def __init__(self, *, max_slots: int, queue_limit: int, chunk_tokens: int, prefill_tokens_per_sweep: int) -> None:
        assert min(max_slots, chunk_tokens) > 0, "a scheduler needs slots, and chunks of some length"
        self._queue_limit = queue_limit
        self._chunk_tokens = chunk_tokens
        self._prefill_tokens_per_sweep = prefill_tokens_per_sweep
        self._waiting: deque[Ticket[Job]] = deque()
        self._active: deque[Ticket[Job]] = deque()  # prompts take turns: whoever was served goes to the end
        self.free_slots = self.max_slots = max_slots

    @property
    def num_waiting(self) -> int:
        return len(self._waiting)

    @property
    def num_active(self) -> int:
        return len(self._active)

    def tickets(self) -> list[Ticket[Job]]:
        """All requests inside, running ones first."""
        return [*self._active, *self._waiting]

    def submit(self, ticket: Ticket[Job]) -> None:
        """Join the line. Overloaded where it would then be longer than the limit."""
        assert 0 < ticket.slots <= self.max_slots, "a request that could never be admitted"
        assert ticket.prompt_tokens > 0, "a prompt without tokens"
        self._waiting.append(ticket)
        num_left = self._left_after_admission()
        if num_left > self._queue_limit:
            self._waiting.pop()
            raise Overloaded(
                f"the engine is busy: {self.num_active} requests running, {num_left - 1} waiting, "
                f"and no more than {self._queue_limit} may wait; try again later"
            )

    def admit(self) -> list[Ticket[Job]]:
        """Move requests from the line into free slots. Their `swept_tokens` may then be set (a reused prefix)."""
        admitted = []
        while self._waiting and self._waiting[0].slots <= self.free_slots:
            ticket = self._waiting.popleft()
            self.free_slots -= ticket.slots
            self._active.append(ticket)
            admitted.append(ticket)
        return admitted

    def plan(self) -> Plan[Job]:
        """The next sweep. Whoever sweeps it then moves `swept_tokens` of the chunks' tickets to their `stop`."""
        decoding = [ticket for ticket in self._active if ticket.is_decoding]
        chunks: list[Chunk[Job]] = []
        spent_tokens = 0
        for ticket in self._active:
            if ticket.is_decoding:
                continue
            chunk = self._next_chunk(ticket)
            size_tokens = chunk.stop - chunk.start
            if chunks and spent_tokens + size_tokens > self._prefill_tokens_per_sweep:
                continue
            chunks.append(chunk)
            spent_tokens += size_tokens
        for chunk in chunks:
            self._active.remove(chunk.ticket)
            self._active.append(chunk.ticket)
        return Plan(decoding, chunks)

    def free_slot(self, ticket: Ticket[Job]) -> None:
        """One of the request's sequences ended; with the last one the request leaves."""
        ticket.slots -= 1
        self.free_slots += 1
        if not ticket.slots:
            self._active.remove(ticket)

    def remove(self, ticket: Ticket[Job]) -> None:
        """The request leaves, from wherever it is. Twice is harmless."""
        if ticket in self._waiting:
            self._waiting.remove(ticket)
        elif ticket in self._active:
            self._active.remove(ticket)
            self.free_slots += ticket.slots

    def _next_chunk(self, ticket: Ticket[Job]) -> Chunk[Job]:
        start = ticket.swept_tokens
        stop = (start // self._chunk_tokens + 1) * self._chunk_tokens
        return Chunk(ticket, start, min(stop, ticket.prompt_tokens))

    def _left_after_admission(self) -> int:
        """Requests that would still wait once every free slot is taken."""
        free = self.free_slots
        for index, ticket in enumerate(self._waiting):
            if ticket.slots > free:
                return len(self._waiting) - index
            free -= ticket.slots
        return 0
