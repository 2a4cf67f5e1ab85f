"""Drafts from a model: a small one beside the large one, or the large one's own first layers.

It guesses what it would itself have sampled, by the same pipeline and the same noise as the answer (a copy of its
sampler), so that it agrees as often as two models can. Evidence is how sure it is of each token. It stops where it is
not: a block of doubtful tokens costs more than it gives.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vortex.decode.drafting.drafter import MAX_EVIDENCE, AnswerSoFar, Proposal
from vortex.protocols import LanguageModel
from vortex.types import Span, Want

MAX_GUESSES = 8
LEAST_SHARE = 0.3  # of its own probability, below which it stops


class ModelDrafter:
    """model: another LanguageModel with the same vocabulary (or more), owned by whoever made it. Not for constraints:
    what a grammar forbids here would take a second grammar to know, and lookups draft there."""

    is_dear = True

    def __init__(self, model: LanguageModel, name: str = "model") -> None:
        self.name = name
        self.model = model

    def begin(self, answer: AnswerSoFar) -> ModelPath:
        return ModelPath(self.model, answer)


class ModelPath:
    """The drafting model's state of one answer. It reads up when it is asked, not before."""

    def __init__(self, model: LanguageModel, answer: AnswerSoFar) -> None:
        self._model = model
        self._state = model.new_state()
        self._unread = list(answer.token_ids)
        self._sampler = answer.sampler.copy() if answer.sampler.constraint is None else None

    def extend(self, token_ids: Sequence[int]) -> None:
        self._unread += token_ids
        if self._sampler is not None:
            for token_id in token_ids:
                self._sampler.advance(token_id)

    def propose(self, ahead: Sequence[int], limit: int) -> Proposal | None:
        if self._sampler is None or ahead:
            return None
        context = self._model.context_length
        if context is not None and self._state.length + len(self._unread) + limit > context:
            return None
        sampler, base = self._sampler.copy(), None
        token_ids: list[int] = []
        evidence: list[int] = []
        logits = self._read_up()
        while True:
            share = _greatest_share(logits)
            if share < LEAST_SHARE:
                break
            token_id = sampler.choose(logits)
            sampler.advance(token_id)
            token_ids.append(token_id)
            evidence.append(int(share * MAX_EVIDENCE))
            if len(token_ids) == min(limit, MAX_GUESSES):
                break
            base = base or self._state.snapshot()  # the guesses are not the text: they are read by a state of their own
            logits = self._model.sweep([Span(base, [token_id])]).logits[0]
            base.commit(1)
        if base is not None:
            base.close()
        return Proposal(token_ids, evidence) if token_ids else None

    def close(self) -> None:
        self._state.close()

    def _read_up(self) -> np.ndarray:
        """Logits [vocab] behind all that stands; the newest token is read again where nothing is new."""
        chunk = self._model.prefill_chunk
        for start in range(0, len(self._unread), chunk):
            piece = self._unread[start : start + chunk]
            is_last = start + chunk >= len(self._unread)
            output = self._model.sweep([Span(self._state, piece, Want.LAST_LOGITS if is_last else Want.NOTHING)])
            self._state.commit(len(piece))
        if self._unread:
            self._logits: np.ndarray = output.logits[0]
            self._unread = []
        return self._logits


def _greatest_share(logits: np.ndarray) -> float:
    """Probability of the likeliest token at temperature 1."""
    return 1.0 / float(np.exp(logits - logits.max(), dtype=np.float32).sum())
