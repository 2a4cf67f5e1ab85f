"""What may come next: the seam where a grammar, a JSON schema or an exact copy plugs into the sampler.

A constraint sees token ids and nothing of the model. It is copied per path where tokens are drafted ahead.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np


class TokenConstraint(Protocol):
    def mask(self) -> np.ndarray | None:
        """Tokens that may come next: bool [vocab]; or 32 bits a word, lowest id in the lowest bit, int32 or uint32
        [ceil(vocab / 32)]; or None where all may. Ids beyond its end are forbidden. End tokens belong in it too."""
        ...

    def settle(self, token_id: int) -> int:
        """The token to take where `token_id` was chosen among the allowed: itself, or another that must come instead
        (the limit nears, and the answer has to be brought to an end). Changes nothing that `advance` or `mask` tell."""
        ...

    def advance(self, token_id: int) -> None:
        """The token was chosen. Called once per token, with what `settle` gave."""
        ...

    @property
    def is_finished(self) -> bool:
        """Nothing more may come: the answer ends here without an end token."""
        ...

    def copy(self) -> TokenConstraint: ...


def allowed_tokens(mask: np.ndarray, vocab_size: int) -> np.ndarray:
    """[vocab] bool from either form of a mask."""
    if mask.dtype != np.bool_:
        words = np.ascontiguousarray(mask).astype("<u4", copy=False, casting="unsafe")
        mask = np.unpackbits(words.view(np.uint8), bitorder="little").view(np.bool_)
    if len(mask) < vocab_size:
        mask = np.concatenate([mask, np.zeros(vocab_size - len(mask), dtype=np.bool_)])
    return mask[:vocab_size]
