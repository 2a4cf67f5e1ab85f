"""A grammar as a TokenConstraint: only tokens that lead to a valid answer, and a valid end within the limit.

The mask keeps every token inside the grammar. The limit is kept by looking ahead: a token after which the answer
could not be brought to an end in the tokens that are left is not taken; the last known way out is, from there on.
While plenty of tokens are left nothing is looked at: one token lengthens the way out by at most `growth_tokens`.

The search for the first way out runs where a grammar is compiled, on the thread that prepares a request. Behind it,
on the engine's thread, a way out is only carried along (mostly it stays, or loses its beginning); that has a thousand
steps a token, some milliseconds at most.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from llguidance import LLMatcher

from vortex.decode.structure.closing import Closing, Hints, Standing
from vortex.decode.structure.json_place import MAX_DIGITS, JsonPlace
from vortex.decode.structure.vocabulary import GrammarVocabulary
from vortex.errors import RequestError

FIRST_SEARCH_STEPS = 50_000  # some tenths of a second; honest schemas take a few thousand
CARRY_SEARCH_STEPS = 1000


@dataclass(frozen=True, slots=True)
class Compiled:
    """A grammar, read and with a way out; made once and copied for every answer.

    way_out: bytes from the start to a valid end. notes: what of a schema is not enforced, for people.
    """

    matcher: LLMatcher
    bytes_matcher: LLMatcher
    closing: Closing
    way_out: bytes
    growth_tokens: int
    notes: tuple[str, ...] = ()

    @classmethod
    def read(
        cls, grammar: str, vocabulary: GrammarVocabulary, hints: Hints, growth_tokens: int, notes: tuple[str, ...] = ()
    ) -> Compiled:
        """Raises RequestError for a grammar that cannot be read, or where no valid answer is found in the steps."""
        bytes_matcher, closing = vocabulary.bytes_matcher(grammar), Closing(hints)
        standing = Standing(bytes_matcher.deep_copy(), JsonPlace())
        way_out = closing.way_out(standing, max_steps=FIRST_SEARCH_STEPS, thorough=True)
        if way_out is None:
            raise RequestError(
                "no valid answer to the schema was found within its limits; lower minItems and minLength, "
                "or make its patterns simpler",
                code="invalid_schema",
            )
        return cls(vocabulary.matcher(grammar), bytes_matcher, closing, way_out, growth_tokens, notes)


class GrammarConstraint:
    """A `vortex.decode.constraint.TokenConstraint`.

    max_tokens: of the whole answer. Raises RequestError where it is too small for any valid answer.
    """

    def __init__(self, compiled: Compiled, vocabulary: GrammarVocabulary, *, max_tokens: int) -> None:
        way_out = vocabulary.spell(compiled.way_out)
        if len(way_out) > max_tokens:
            raise RequestError(
                f"max_tokens is {max_tokens}, but the shortest valid answer has {len(way_out)} tokens; raise it",
                param="max_tokens",
            )
        self.notes = compiled.notes
        self._matcher = compiled.matcher.deep_copy()
        self._standing = Standing(compiled.bytes_matcher.deep_copy(), JsonPlace())
        self._closing = compiled.closing
        self._vocabulary = vocabulary
        self._left_tokens = max_tokens
        self._growth_tokens = max(compiled.growth_tokens, len(way_out))
        self._known = compiled.way_out  # the last way out that was known, from here or from a place before
        self._way_out: list[int] | None = way_out  # from here; None: not looked for since `_way_out_tokens` was known
        self._way_out_tokens = len(way_out)  # at most, from here
        self._settled: tuple[int, bytes] | None = None  # a token that was looked behind, and the way out from there

    def begin_with(self, written: bytes) -> bool:
        """These bytes are there already, outside the count of tokens; False where no answer within the limit can
        begin so."""
        if not written:
            return self._way_out_tokens <= self._left_tokens
        if not self._matcher.consume_tokens(self._vocabulary.spell(written)) or not self._standing.push(written):
            return False
        rest = self._closing.way_out(self._standing, max_steps=CARRY_SEARCH_STEPS, known=self._known)
        self._remember(rest)
        return rest is not None and len(self._vocabulary.spell(rest)) <= self._left_tokens

    def mask(self) -> np.ndarray:
        words = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint32)
        if self._standing.place.num_digits < MAX_DIGITS:
            return words
        ended = words & ~self._vocabulary.digit_words(len(words))
        return ended if ended.any() else words

    def settle(self, token_id: int) -> int:
        """The token to take where the sampler chose `token_id`: itself, or the first of the way out."""
        left_tokens = self._left_tokens - 1
        if self._standing.place.num_digits >= MAX_DIGITS and self._vocabulary.token_bytes(token_id)[:1].isdigit():
            return (self._look() or [token_id])[0]  # a number that may not end yet: straight to where it may
        if left_tokens >= self._way_out_tokens + self._growth_tokens:
            return token_id
        way_out = self._look()
        if way_out is None or left_tokens >= len(way_out) + self._growth_tokens or way_out[:1] == [token_id]:
            return token_id
        rest = self._behind(token_id)
        if rest is not None and (len(rest) <= left_tokens or len(self._vocabulary.spell(rest)) <= left_tokens):
            self._settled = (token_id, rest)
            return token_id
        return way_out[0] if way_out else self._vocabulary.end_id

    def advance(self, token_id: int) -> None:
        consumed = self._matcher.consume_token(token_id)
        assert consumed, f"token {token_id} is outside the grammar: {self._matcher.get_error()}"
        self._left_tokens -= 1
        if token_id in self._vocabulary.end_ids:
            return
        written = self._vocabulary.token_bytes(token_id)
        self._standing.push(written)
        if self._settled is not None and self._settled[0] == token_id:
            self._remember(self._settled[1])
        elif self._way_out and self._way_out[0] == token_id:
            self._known = self._known[len(written) :]
            self._way_out = self._way_out[1:]
            self._way_out_tokens = len(self._way_out)
        else:
            self._way_out = None
            self._way_out_tokens += self._growth_tokens
        self._settled = None

    @property
    def is_finished(self) -> bool:
        return self._matcher.is_stopped()

    def copy(self) -> GrammarConstraint:
        twin = GrammarConstraint.__new__(GrammarConstraint)
        twin.__dict__.update(self.__dict__)
        twin._matcher = self._matcher.deep_copy()
        twin._standing = self._standing.copy()
        return twin

    @property
    def least_tokens(self) -> int:
        return self._way_out_tokens

    def limited_to(self, max_tokens: int) -> GrammarConstraint:
        """A copy that stands at its beginning, with another limit."""
        twin = self.copy()
        twin._left_tokens = max_tokens
        return twin

    def _look(self) -> list[int] | None:
        """The way out from here; empty where the answer may end at once, None where none was found."""
        if self._way_out is None:
            self._remember(self._closing.way_out(self._standing, max_steps=CARRY_SEARCH_STEPS, known=self._known))
        return self._way_out

    def _behind(self, token_id: int) -> bytes | None:
        """The way out after one more token."""
        if token_id in self._vocabulary.end_ids:
            return b""
        branch = self._standing.copy()
        if not branch.push(self._vocabulary.token_bytes(token_id)):
            return None
        rest = self._closing.way_out(branch, max_steps=CARRY_SEARCH_STEPS, known=self._known)
        self._standing.pattern = branch.pattern
        return rest

    def _remember(self, way_out: bytes | None) -> None:
        if way_out is None:
            self._way_out = None
            return
        self._known = way_out
        self._way_out = self._vocabulary.spell(way_out)
        self._way_out_tokens = len(self._way_out)
