"""The cloze test and the last words of `evaluation.py` for networks that are still in torch: a student, its teacher."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from vortex.learn.evaluation import Evaluation, EvaluationOptions
from vortex.models.hash_model import HashModel
from vortex.protocols import Tokenizer

Logits = Callable[[torch.Tensor], torch.Tensor]
"""Ids [1, T] to logits [1, T, V]."""


class NetworkEvaluation(Evaluation):
    """`logits` is asked for whole pieces of text; no state is kept."""

    def __init__(self, logits: Logits, tokenizer: Tokenizer, device: torch.device) -> None:
        super().__init__(HashModel(), tokenizer, EvaluationOptions())  # its model is never swept
        self._network, self._device = logits, device

    @property
    def num_questions(self) -> int:
        return len(self._cloze_rows) + len(self._sentences)

    def figures(self) -> dict[str, Any]:
        return {**self.cloze(), **self.last_words()}

    @torch.no_grad()
    def _logits(self, ids: Sequence[int], last: int = 0) -> np.ndarray:
        logits = self._network(torch.tensor([list(ids)], device=self._device))[0]
        found: np.ndarray = logits[-last:].float().cpu().numpy()
        return found
