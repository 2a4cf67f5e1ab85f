"""A grammar as a TokenConstraint: only tokens that lead to a valid answer, and a valid end within the limit.

The mask keeps every token inside the grammar. The limit is kept by looking ahead: a token after which the answer
could not be brought to an end in the tokens that are left is not taken; the shortest way out is, from there on.
While plenty of tokens are left nothing is looked at: one token lengthens the way out by at most `growth_tokens`.
"""

from __future__ import annotations

import numpy as np
from llguidance import LLMatcher

from vortex.decode.structure.closing import shortest_close
from vortex.decode.structure.vocabulary import GrammarVocabulary
from vortex.errors import RequestError

SEARCH_LIMIT_TOKENS = 4096
INITIAL_EFFORT = 4


class GrammarConstraint:
    """A `vortex.decode.constraint.TokenConstraint`.

    max_tokens: of the whole answer. growth_tokens: by how much one token may lengthen the shortest way out.
    Raises RequestError where `max_tokens` is too small for any valid answer, or where no valid answer is found.
    """

    def __init__(
        self, matcher: LLMatcher, vocabulary: GrammarVocabulary, *, max_tokens: int, growth_tokens: int
    ) -> None:
        way_out = shortest_close(matcher, vocabulary, SEARCH_LIMIT_TOKENS, INITIAL_EFFORT)
        if way_out is None:
            raise RequestError("no valid answer to the schema was found; make its patterns simpler")
        if len(way_out) > max_tokens:
            raise RequestError(
                f"max_tokens is {max_tokens}, but the shortest valid answer has {len(way_out)} tokens; raise it",
                param="max_tokens",
            )
        self._matcher = matcher
        self._vocabulary = vocabulary
        self._left_tokens = max_tokens
        self._growth_tokens = max(growth_tokens, len(way_out))
        self._way_out: list[int] | None = way_out  # from here; None: not looked for since `_way_out_tokens` was known
        self._way_out_tokens = len(way_out)  # at most, from here
        self._settled: tuple[int, list[int]] | None = None  # a token that was looked behind, and the way out from there

    def mask(self) -> np.ndarray:
        return np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint32)

    def settle(self, token_id: int) -> int:
        """The token to take where the sampler chose `token_id`: itself, or the first of the shortest way out."""
        left_tokens = self._left_tokens - 1
        if left_tokens >= self._way_out_tokens + self._growth_tokens:
            return token_id
        way_out = self._look()
        if way_out is None or left_tokens >= len(way_out) + self._growth_tokens or way_out[:1] == [token_id]:
            return token_id
        branch = self._matcher.deep_copy()
        if branch.consume_token(token_id):
            rest = shortest_close(branch, self._vocabulary, left_tokens)
            if rest is not None:
                self._settled = (token_id, rest)
                return token_id
        return way_out[0] if way_out else self._vocabulary.end_id

    def advance(self, token_id: int) -> None:
        consumed = self._matcher.consume_token(token_id)
        assert consumed, f"token {token_id} is outside the grammar: {self._matcher.get_error()}"
        self._left_tokens -= 1
        if self._settled is not None and self._settled[0] == token_id:
            self._way_out = self._settled[1]
        elif self._way_out and self._way_out[0] == token_id:
            self._way_out = self._way_out[1:]
        else:
            self._way_out = None
            self._way_out_tokens += self._growth_tokens
        if self._way_out is not None:
            self._way_out_tokens = len(self._way_out)
        self._settled = None

    @property
    def is_finished(self) -> bool:
        return self._matcher.is_stopped()

    def copy(self) -> GrammarConstraint:
        twin = GrammarConstraint.__new__(GrammarConstraint)
        twin.__dict__.update(self.__dict__)
        twin._matcher = self._matcher.deep_copy()
        return twin

    def _look(self) -> list[int] | None:
        """The way out from here; empty where the answer may end at once, None where none was found."""
        if self._way_out is None:
            self._way_out = shortest_close(self._matcher, self._vocabulary, max(self._left_tokens, 0))
            self._way_out_tokens = len(self._way_out or ())
        return self._way_out
