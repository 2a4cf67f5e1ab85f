"""Drafts from a table of which token followed which pair of tokens, learned while answers come: two megabytes for all.

Each row remembers one follower and how often it was right lately; a follower that keeps being wrong gives its place
up. Rows are found by a hash of the pair and hold its check, so a collision costs a row, never a wrong memory.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from vortex.decode.drafting.drafter import AnswerSoFar, Proposal

NUM_ROWS = 1 << 17
MAX_STRENGTH = 15
LEAST_STRENGTH = 2  # a follower seen once is no evidence
_GAMMA = 0x9E3779B97F4A7C15
_WORD = (1 << 64) - 1


class AdjacencyDrafter:
    """NUM_ROWS rows of a check (4 bytes), a follower (4 bytes) and a strength (1 byte): 1.2 MB."""

    name = "adjacency"
    is_dear = False

    def __init__(self) -> None:
        self._checks = array("I", bytes(4 * NUM_ROWS))
        self._followers = array("i", bytes(4 * NUM_ROWS))
        self._strengths = bytearray(NUM_ROWS)

    @property
    def num_bytes(self) -> int:
        columns = (self._checks, self._followers)
        return sum(len(column) * column.itemsize for column in columns) + len(self._strengths)

    def begin(self, answer: AnswerSoFar) -> AdjacencyPath:
        return AdjacencyPath(self, answer.token_ids)

    def learn(self, token_ids: Sequence[int], start: int) -> None:
        """Tokens from `start` on followed the pairs before them."""
        checks, followers, strengths = self._checks, self._followers, self._strengths
        for index in range(max(start, 2), len(token_ids)):
            row, check = _row(token_ids[index - 2], token_ids[index - 1])
            token_id = token_ids[index]
            strength = strengths[row]
            if checks[row] == check and followers[row] == token_id:
                strengths[row] = min(strength + 1, MAX_STRENGTH)
            elif strength > 1:
                strengths[row] = strength - 1
            else:
                checks[row], followers[row], strengths[row] = check, token_id, 1

    def follower(self, first: int, second: int) -> tuple[int, int]:
        """(token, strength) of what followed the pair; strength 0 where nothing is known."""
        row, check = _row(first, second)
        return (self._followers[row], self._strengths[row]) if self._checks[row] == check else (0, 0)


class AdjacencyPath:
    def __init__(self, table: AdjacencyDrafter, token_ids: Sequence[int]) -> None:
        self._table = table
        self._last = list(token_ids[-2:])
        table.learn(token_ids, 2)

    def extend(self, token_ids: Sequence[int]) -> None:
        text = [*self._last, *token_ids]
        self._table.learn(text, len(self._last))
        self._last = text[-2:]

    def propose(self, ahead: Sequence[int], limit: int) -> Proposal | None:
        text = [*self._last, *ahead][-2:]
        evidence: list[int] = []
        while len(evidence) < limit and len(text) >= 2:
            token_id, strength = self._table.follower(text[-2], text[-1])
            if strength < LEAST_STRENGTH:
                break
            text.append(token_id)
            evidence.append(strength)
        return Proposal(text[-len(evidence) :], evidence) if evidence else None

    def close(self) -> None:
        """What was learned is in the table already."""


def _row(first: int, second: int) -> tuple[int, int]:
    hashed = ((first << 20) + second + 1) * _GAMMA & _WORD
    return hashed >> 47, (hashed >> 15 & 0xFFFFFFFF) | 1  # a check is never 0: an empty row matches no pair
