"""A text on its way to a vector: the mean of its tokens' hidden rows, at length 1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vortex.engine.choice import Landed
from vortex.engine.mailbox import Mailbox
from vortex.errors import BackendError, MissingCapability
from vortex.types import Adapter, SequenceState, Want


class Embedding:
    """A `Job` whose only event is the vector, [width] float32. Nothing is reused: every hidden row is needed."""

    shares_prefix = False
    choices = ()
    slots = 1

    def __init__(self, prompt_ids: Sequence[int], box: Mailbox[np.ndarray], adapter: Adapter | None = None) -> None:
        self.prompt_ids = prompt_ids
        self.box = box
        self.adapter = adapter
        self.is_done = False
        self._state: SequenceState | None = None
        self._sum: np.ndarray | None = None

    @property
    def prompt_state(self) -> SequenceState:
        assert self._state is not None, "a text is swept after its admission"
        return self._state

    def begin(self, state: SequenceState) -> None:
        self._state = state

    def want(self, *, is_last: bool) -> Want:
        return Want.ALL_HIDDEN

    def receive_prompt(self, logits: np.ndarray, hidden: np.ndarray | None, *, is_last: bool) -> Sequence[Landed]:
        if hidden is None:
            raise MissingCapability("this model gives no hidden states, so no embeddings; serve another model for them")
        rows_sum = hidden.sum(axis=0, dtype=np.float64)
        self._sum = rows_sum if self._sum is None else self._sum + rows_sum
        self.is_done = is_last
        return ()

    def release(self) -> int:
        if not self.is_done:
            return 0
        self.close()
        return 1

    def take_events(self) -> list[np.ndarray]:
        if not self.is_done or self._sum is None:
            return []
        length = float(np.linalg.norm(self._sum))
        return [(self._sum / (length or 1.0)).astype(np.float32)]

    def cut_short(self) -> None:
        self.close()
        raise BackendError("the engine closed before the text was embedded; ask again when it is back", status=503)

    def close(self) -> None:
        if self._state is not None:
            self._state.close()
