"""Whether an answer has begun to repeat itself and will not stop: the same tokens again and again, exactly.

A loop is a tail of the answer that has a period of at most `MAX_PERIOD` tokens and is at least `LEAST_TOKENS` long and
`LEAST_ROUNDS` rounds deep: greedy decoding of a small model never leaves such a tail by itself. Looks at token ids
alone, so the same tokens end at the same place however they were drafted, batched or paged. Does not find loops that
count (a numbered list that never ends): those differ in every round.
"""

from __future__ import annotations

import numpy as np

MAX_PERIOD = 64
LEAST_TOKENS = 96
LEAST_ROUNDS = 4
LOOP_NOTE = "the answer repeated itself and was ended there"


class LoopWatch:
    """`push` each token of an answer in order; true from the token on that closes a loop. Microseconds a token."""

    def __init__(self) -> None:
        self._newest_first = np.full(MAX_PERIOD, -1, dtype=np.int64)  # the last tokens; -1: none yet
        self._matched = np.zeros(MAX_PERIOD, dtype=np.int64)  # [period - 1]: tokens in a row equal to the one before
        periods = np.arange(1, MAX_PERIOD + 1)
        self._needed = np.maximum(LEAST_TOKENS, LEAST_ROUNDS * periods) - periods

    def push(self, token_id: int) -> bool:
        self._matched += 1
        self._matched[self._newest_first != token_id] = 0
        self._newest_first[1:] = self._newest_first[:-1]
        self._newest_first[0] = token_id
        return bool((self._matched >= self._needed).any())


def is_looping(token_ids: list[int]) -> bool:
    """The readable twin: whether some tail of the answer is a loop."""
    for period in range(1, MAX_PERIOD + 1):
        length = max(LEAST_TOKENS, LEAST_ROUNDS * period)
        tail = token_ids[-length:]
        if len(tail) == length and tail[period:] == tail[:-period]:
            return True
    return False
