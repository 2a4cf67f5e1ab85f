"""Drafts from the model's own further heads (multi-token prediction), where a sweep gives `draft_logits`.

The heads' guesses belong to the newest swept row: head k names the token k + 2 places behind it, and the token one
place behind it has been sampled by then. So head 0 guesses what follows the newest token, head 1 what follows that.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vortex.decode.drafter import MAX_EVIDENCE, AnswerSoFar, Proposal


class HeadsDrafter:
    """Greedy guesses; evidence is each head's own probability."""

    name = "heads"
    is_dear = False

    def begin(self, answer: AnswerSoFar) -> HeadsPath:
        return HeadsPath()


class HeadsPath:
    """A `vortex.decode.drafter.ReadsHeads` too."""

    def __init__(self) -> None:
        self._proposal: Proposal | None = None

    def receive_heads(self, head_logits: np.ndarray) -> None:
        peaks = head_logits.max(axis=1, keepdims=True)
        shares = 1.0 / np.exp(head_logits - peaks, dtype=np.float32).sum(axis=1)
        self._proposal = Proposal(head_logits.argmax(axis=1).tolist(), (shares * MAX_EVIDENCE).astype(int).tolist())

    def extend(self, token_ids: Sequence[int]) -> None:
        self._proposal = None  # of an older row

    def propose(self, ahead: Sequence[int], limit: int) -> Proposal | None:
        if self._proposal is None or ahead:
            return None
        return Proposal(self._proposal.token_ids[:limit], self._proposal.evidence[:limit])

    def close(self) -> None:
        """Nothing is kept."""
