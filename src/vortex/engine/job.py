"""What the sweep loop asks of a request, whatever it wants in the end (an answer: generation.py; a vector:
embedding.py)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from vortex.engine.choice import Choice, Landed
from vortex.engine.mailbox import Mailbox
from vortex.types import Adapter, SequenceState, Want


class Job(Protocol):
    """Made by the thread that asks, then touched by the engine's thread alone."""

    @property
    def prompt_ids(self) -> Sequence[int]: ...

    @property
    def box(self) -> Mailbox[Any]:
        """Where events go; abandoned when the request was cancelled."""
        ...

    @property
    def adapter(self) -> Adapter | None:
        """What all its spans carry; None: the model alone."""
        ...

    @property
    def slots(self) -> int:
        """Sequences that it will run at once."""
        ...

    @property
    def shares_prefix(self) -> bool:
        """Its prompt may begin with another's state, and serve others as a beginning."""
        ...

    @property
    def choices(self) -> Sequence[Choice]:
        """Answers in the making, to be swept block by block once the prompt is."""
        ...

    @property
    def is_done(self) -> bool:
        """Nothing more to sweep; `take_events` gives the last events."""
        ...

    def begin(self, state: SequenceState) -> None:
        """The request is admitted; `state` holds the reused beginning of its prompt, or nothing. It is the job's."""
        ...

    @property
    def prompt_state(self) -> SequenceState: ...

    def want(self, *, is_last: bool) -> Want:
        """What the job needs of a chunk of its prompt."""
        ...

    def receive_prompt(self, logits: np.ndarray, hidden: np.ndarray | None, *, is_last: bool) -> Sequence[Landed]:
        """The wanted rows of a chunk, which is committed; what each choice sampled from them."""
        ...

    def release(self) -> int:
        """Close the states that are no longer needed; the number of slots that this made free."""
        ...

    def take_events(self) -> Sequence[object]:
        """What happened since the last call."""
        ...

    def cut_short(self) -> None:
        """The engine closes: end now, with what there is."""
        ...

    def close(self) -> None:
        """Close all states. Twice is harmless."""
        ...
