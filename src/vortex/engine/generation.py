"""A request for an answer on its way through the engine: prompt swept once, then one or more choices from it."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from vortex.decode.drafting.counts import DraftCounts
from vortex.engine.choice import Choice, Landed
from vortex.engine.echo import Echo
from vortex.engine.mailbox import Mailbox
from vortex.types import (
    Adapter,
    ChatEvent,
    ChoiceFinished,
    Completed,
    FinishReason,
    SequenceState,
    Timings,
    Usage,
    Want,
)


class Generation:
    """A `Job`. All choices continue snapshots of one swept prompt, so each is the answer it would be alone."""

    def __init__(
        self,
        prompt_ids: Sequence[int],
        choices: Sequence[Choice],
        box: Mailbox[ChatEvent],
        echo: Echo | None = None,
        adapter: Adapter | None = None,
    ) -> None:
        self.prompt_ids = prompt_ids
        self.choices = choices
        self.box = box
        self._echo = echo
        self._echoed = 0  # choices that were given the prompt back
        self.adapter = adapter
        self._state: SequenceState | None = None
        self._cached_tokens = 0
        self._prompt_sweeps = 0
        self._reported: set[int] = set()  # choices whose end was told
        self._holding = len(choices)  # slots not yet given back
        self._submitted_at = time.perf_counter()
        self._admitted_at = self._answering_at = self._submitted_at

    @property
    def shares_prefix(self) -> bool:
        """A prompt that is scored is swept whole."""
        return self._echo is None or not self._echo.wants_logits

    @property
    def slots(self) -> int:
        return len(self.choices)

    @property
    def is_done(self) -> bool:
        return all(choice.finish_reason for choice in self.choices)

    @property
    def prompt_state(self) -> SequenceState:
        assert self._state is not None, "a prompt is swept between admission and the first token"
        return self._state

    def begin(self, state: SequenceState) -> None:
        self._state = state
        self._cached_tokens = state.length
        self._admitted_at = self._answering_at = time.perf_counter()

    def want(self, *, is_last: bool) -> Want:
        if not self.shares_prefix:
            return Want.ALL_LOGITS
        return Want.LAST_LOGITS if is_last else Want.NOTHING

    def receive_prompt(self, logits: np.ndarray, hidden: np.ndarray | None, *, is_last: bool) -> Sequence[Landed]:
        self._prompt_sweeps += 1
        if self._echo is not None:
            self._echo.score(logits)
        if not is_last:
            return ()
        logits = logits[-1:]
        self._answering_at = time.perf_counter()
        if self._echo is not None and self._echo.is_all:
            for choice in self.choices:
                choice.finish(FinishReason.LENGTH)
            self.prompt_state.close()
            self._state = None
            return ()
        landed = [choice.begin(self.prompt_state.snapshot(), logits) for choice in self.choices[1:]]
        state, self._state = self.prompt_state, None
        return [self.choices[0].begin(state, logits), *landed]

    def release(self) -> int:
        running = 0
        for choice in self.choices:
            if choice.finish_reason:
                choice.close()
            else:
                running += 1
        freed, self._holding = self._holding - running, running
        return freed

    def take_events(self) -> list[ChatEvent]:
        events: list[ChatEvent] = []
        for index, choice in enumerate(self.choices):
            if self._echo is not None and index >= self._echoed and (choice.num_tokens or choice.finish_reason):
                events.append(self._echo.delta(index))
                self._echoed += 1
            delta = choice.text.take()
            if delta is not None:
                events.append(delta)
            if choice.finish_reason and index not in self._reported:
                self._reported.add(index)
                stop = choice.text.stop
                events.append(ChoiceFinished(choice=index, reason=choice.finish_reason, note=choice.note, stop=stop))
        if self.is_done:
            events.append(Completed(usage=self._usage(), timings=self._timings()))
        return events

    def cut_short(self) -> None:
        for choice in self.choices:
            if not choice.finish_reason:
                choice.finish(FinishReason.CANCELLED)
        self.close()

    def close(self) -> None:
        for choice in self.choices:
            choice.close()
        if self._state is not None:
            self._state.close()

    def _usage(self) -> Usage:
        return Usage(
            prompt_tokens=len(self.prompt_ids),
            completion_tokens=sum(choice.num_tokens for choice in self.choices),
            cached_tokens=self._cached_tokens,
        )

    def _timings(self) -> Timings:
        counters = {
            "prompt_sweeps": float(self._prompt_sweeps),
            "decode_sweeps": float(max(choice.num_sweeps for choice in self.choices)),
        }
        if drafts := [choice.drafts.counts for choice in self.choices if choice.drafts is not None]:
            counters |= sum(drafts, start=DraftCounts()).counters()
        entropy_nats = sum(choice.entropy_nats for choice in self.choices)
        if entropy_nats:
            counters["mean_entropy_nats"] = entropy_nats / sum(choice.num_tokens for choice in self.choices)
        return Timings(
            queue_ms=1e3 * (self._admitted_at - self._submitted_at),
            prefill_ms=1e3 * (self._answering_at - self._admitted_at),
            decode_ms=1e3 * (time.perf_counter() - self._answering_at),
            counters=counters,
        )
