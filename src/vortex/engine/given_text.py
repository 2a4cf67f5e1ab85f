"""What a model thinks of a text that it is given: where it would have gone another way, and how likely a text is.

Each question is a generator that yields the spans of one sweep and is sent their rows, so that whoever owns the model
decides when it is swept (engine/visits.py between the sweeps of answers; `run` at once). A text is swept once; branches
start from snapshots of its state and are decoded together, one token a sweep. Promises: every state that a question
opened is closed when it ends, however it ends. docs/agent.md says what it is for.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np

from vortex.errors import ContextOverflow, RequestError
from vortex.protocols import ChatFormat, LanguageModel, Tokenizer
from vortex.types import Adapter, GivenText, Rival, RivalSearch, SequenceState, Span, SweepOutput, Want

Result = TypeVar("Result")
Question = Generator[list[Span], SweepOutput, Result]

ROWS_PER_SWEEP = 192  # of logits: a row of 150,000 tokens is 600 KB


def run(model: LanguageModel, question: Question[Result]) -> Result:
    """Ask at once, on a model that nobody else sweeps."""
    try:
        spans = next(question)
        while True:
            spans = question.send(model.sweep(spans))
    except StopIteration as end:
        return end.value


def carrying(question: Question[Result], adapter: Adapter | None) -> Question[Result]:
    """The same question, each of its spans computed with an adapter."""
    try:
        spans = next(question)
        while True:
            output = yield [replace(span, adapter=adapter) for span in spans]
            spans = question.send(output)
    except StopIteration as end:
        found: Result = end.value
        return found
    finally:
        question.close()


@dataclass(frozen=True, slots=True)
class Reading:
    """A given text as tokens: `before_ids` lead to it; token i of the text begins at byte `starts[i]`."""

    before_ids: list[int]
    text_ids: list[int]
    starts: list[int]
    text_bytes: bytes

    def character(self, place: int) -> int:
        """Characters of the text before a token that begins with one."""
        return len(self.text_bytes[: self.starts[place]].decode())


@dataclass(slots=True)
class _Branch:
    place: int  # the token of the text that it stands against
    log_odds: float
    token_ids: list[int]
    state: SequenceState | None = None
    text: str = ""


@dataclass(slots=True)
class _Rows:
    """Of each token of the text: its log-probability, and the most likely ones (ids and log-probabilities)."""

    own: list[float] = field(default_factory=list)
    top_ids: list[np.ndarray] = field(default_factory=list)
    top_logprobs: list[np.ndarray] = field(default_factory=list)

    def add(self, logits: np.ndarray, token_ids: Sequence[int], num_top: int) -> None:
        """logits: [len(token_ids), vocab] float32; row i is what token i was chosen from."""
        for row, token_id in zip(log_softmax(logits), token_ids, strict=True):
            self.own.append(float(row[token_id]))
            top = np.argpartition(-row, num_top)[:num_top] if num_top < len(row) else np.arange(len(row))
            top = top[np.lexsort((top, -row[top]))]
            self.top_ids.append(top)
            self.top_logprobs.append(row[top])


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """[rows, vocab] float32 to natural logarithms of probabilities, float32 (sums in float64)."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    totals = np.exp(shifted).sum(axis=1, keepdims=True, dtype=np.float64)
    result: np.ndarray = (shifted - np.log(totals)).astype(np.float32)
    return result


class GivenTexts:
    """Questions about texts for one model. `context_length` as the engine's; vocab_size: ids that may be chosen."""

    def __init__(
        self, tokenizer: Tokenizer, chat_format: ChatFormat, *, vocab_size: int, context_length: int | None, chunk: int
    ) -> None:
        self._tokenizer = tokenizer
        self._chat_format = chat_format
        self._vocab_size = vocab_size
        self._context_length = context_length
        self._chunk = chunk

    def read(self, given: GivenText, text: str | None = None) -> Reading:
        """Raises RequestError for a text without tokens or one that the tokenizer changes, ContextOverflow."""
        before = self._chat_format.encode(given.messages) if given.messages else []
        before += self._tokenizer.encode(given.opening, add_bos=not given.messages)
        text_ids = self._tokenizer.encode(given.text if text is None else text)
        if not before or not text_ids:
            raise RequestError("a given text needs a beginning (messages or an opening) and at least one token")
        pieces = [self._tokenizer.token_bytes(token_id) for token_id in text_ids]
        whole = b"".join(pieces)
        if whole != (given.text if text is None else text).encode():
            raise RequestError("this model's tokenizer does not keep a text as it is, so places in it cannot be told")
        if self._context_length is not None and len(before) + len(text_ids) >= self._context_length:
            raise ContextOverflow(
                f"the text and what leads to it have {len(before) + len(text_ids)} tokens, and the context holds "
                f"{self._context_length}; give a shorter text"
            )
        starts = [0, *itertools.accumulate(map(len, pieces))][:-1]
        return Reading(before, text_ids, starts, whole)

    # --- rivals ------------------------------------------------------------------------------------------------------

    def rivals(self, model: LanguageModel, reading: Reading, search: RivalSearch) -> Question[list[Rival]]:
        with ExitStack() as states:
            base = _opened(model.new_state(), states)
            yield from self._advance(base, reading.before_ids[:-1])
            walker = _opened(base.snapshot(), states)  # walks the text a second time, to leave snapshots on its way
            rows = yield from self._rows(base, [reading.before_ids[-1], *reading.text_ids], search.rivals_per_token + 1)
            base.close()
            branches = self._choose(reading, rows, search)
            yield from self._place(walker, reading, branches, states)
            yield from self._decode(reading, branches, search.max_tokens)
        return [Rival(reading.character(branch.place), branch.text, branch.log_odds) for branch in branches]

    def _rows(self, state: SequenceState, token_ids: Sequence[int], num_top: int) -> Question[_Rows]:
        """token_ids: the last token before the text, then the text."""
        rows = _Rows()
        size = min(self._chunk, ROWS_PER_SWEEP)
        for start in range(0, len(token_ids) - 1, size):
            piece = token_ids[start : min(start + size, len(token_ids) - 1)]
            output = yield [Span(state, piece, Want.ALL_LOGITS)]
            state.commit(len(piece))
            rows.add(output.logits[:, : self._vocab_size], token_ids[start + 1 : start + 1 + len(piece)], num_top)
        return rows

    def _choose(self, reading: Reading, rows: _Rows, search: RivalSearch) -> list[_Branch]:
        branches: list[_Branch] = []
        line = 1
        for place, token_id in enumerate(reading.text_ids):
            start = reading.starts[place]
            end = reading.starts[place + 1] if place + 1 < len(reading.starts) else len(reading.text_bytes)
            piece = reading.text_bytes[start:end]
            is_wanted = search.lines is None or line in search.lines or line - 1 in search.lines
            line += piece.count(b"\n")
            if not is_wanted or not _is_whole(reading.text_bytes[:start]):
                continue
            for rival_id, logprob in zip(rows.top_ids[place], rows.top_logprobs[place], strict=True):
                if rival_id != token_id and self._may_branch(int(rival_id), piece, search):
                    branches.append(_Branch(place, float(logprob) - rows.own[place], [int(rival_id)]))
        branches.sort(key=lambda branch: (-branch.log_odds, branch.place, branch.token_ids[0]))
        return branches[: search.most]

    def _may_branch(self, rival_id: int, piece: bytes, search: RivalSearch) -> bool:
        """Other space for space changes nothing, and some texts never help."""
        text = self._tokenizer.decode([rival_id])
        if not text.strip() and not piece.strip():
            return False
        return not any(part in text for part in search.skip)

    def _place(
        self, walker: SequenceState, reading: Reading, branches: Iterable[_Branch], states: ExitStack
    ) -> Question[None]:
        """Give each branch a state of all that stands before its place, but the last token: that is swept with it."""
        walked = [reading.before_ids[-1], *reading.text_ids]
        done = 0
        for branch in sorted(branches, key=lambda branch: branch.place):
            if walked[done : branch.place]:
                yield from self._advance(walker, walked[done : branch.place])
                done = branch.place
            branch.state = _opened(walker.snapshot(), states)
        walker.close()

    def _decode(self, reading: Reading, branches: Sequence[_Branch], max_tokens: int) -> Question[None]:
        """Greedily to the end of the line, of the answer, or of `max_tokens`; all that go on ride in each sweep."""
        walked = [reading.before_ids[-1], *reading.text_ids]
        newest = {id(branch): [walked[branch.place], branch.token_ids[0]] for branch in branches}
        going_on = [branch for branch in branches if not self._ends(branch, max_tokens)]
        while going_on:
            output = yield [Span(_state(branch), newest[id(branch)], Want.LAST_LOGITS) for branch in going_on]
            for row, branch in zip(output.logits[:, : self._vocab_size], going_on, strict=True):
                _state(branch).commit(len(newest[id(branch)]))
                branch.token_ids.append(int(row.argmax()))
                newest[id(branch)] = branch.token_ids[-1:]
            going_on = [branch for branch in going_on if not self._ends(branch, max_tokens)]

    def _ends(self, branch: _Branch, max_tokens: int) -> bool:
        branch.text = self._tokenizer.decode(branch.token_ids)
        line, newline, _ = branch.text.partition("\n")
        is_last = len(branch.token_ids) >= max_tokens or branch.token_ids[-1] in self._tokenizer.end_ids
        if not newline and not is_last and not self._is_full(branch):
            return False
        branch.text = line
        if branch.state is not None:
            branch.state.close()
        return True

    def _is_full(self, branch: _Branch) -> bool:
        length = branch.state.length if branch.state is not None else 0
        return self._context_length is not None and length + 2 >= self._context_length

    # --- how likely a text is ----------------------------------------------------------------------------------------

    def log_probabilities(
        self, model: LanguageModel, reading: Reading, others: Sequence[Reading]
    ) -> Question[list[float]]:
        """Each other text stands where the given one does."""
        with ExitStack() as states:
            base = _opened(model.new_state(), states)
            yield from self._advance(base, reading.before_ids[:-1])
            walker = _opened(base.snapshot(), states)
            rows = yield from self._rows(base, [reading.before_ids[-1], *reading.text_ids], 1)
            base.close()
            own = np.concatenate(([0.0], np.cumsum(rows.own)))
            totals = [0.0] * len(others)
            walked, done = [reading.before_ids[-1], *reading.text_ids], 0
            forks = sorted((_common(reading.text_ids, other.text_ids), index) for index, other in enumerate(others))
            for group in _groups(forks, others):
                spans = []
                for fork, index in group:
                    yield from self._advance(walker, walked[done:fork])
                    done = max(done, fork)
                    rest = [walked[fork], *others[index].text_ids[fork:]]
                    totals[index] = float(own[fork])
                    if len(rest) > 1:
                        spans.append((index, rest, _opened(walker.snapshot(), states)))
                if not spans:
                    continue
                output = yield [Span(state, rest[:-1], Want.ALL_LOGITS) for _, rest, state in spans]
                for (index, rest, state), where in zip(spans, output.logits_rows, strict=True):
                    state.commit(0)
                    state.close()
                    logprobs = log_softmax(output.logits[where][:, : self._vocab_size])
                    totals[index] += float(logprobs[np.arange(len(rest) - 1), rest[1:]].sum(dtype=np.float64))
        return [float(own[-1]), *totals]

    def _advance(self, state: SequenceState, token_ids: Sequence[int]) -> Question[None]:
        for start in range(0, len(token_ids), self._chunk):
            piece = token_ids[start : start + self._chunk]
            yield [Span(state, piece, Want.NOTHING)]
            state.commit(len(piece))


def _groups(forks: Sequence[tuple[int, int]], others: Sequence[Reading]) -> Iterable[list[tuple[int, int]]]:
    """Texts whose rows fit into one sweep."""
    group: list[tuple[int, int]] = []
    num_rows = 0
    for fork, index in forks:
        size = len(others[index].text_ids) - fork
        if group and num_rows + size > ROWS_PER_SWEEP:
            yield group
            group, num_rows = [], 0
        group.append((fork, index))
        num_rows += size
    if group:
        yield group


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens both begin with."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((place for place, (one, other) in pairs if one != other), min(len(first), len(second)))


def _opened(state: SequenceState, states: ExitStack) -> SequenceState:
    states.callback(state.close)
    return state


def _state(branch: _Branch) -> SequenceState:
    assert branch.state is not None, "a branch is placed before it is decoded"
    return branch.state


def _is_whole(text_bytes: bytes) -> bool:
    try:
        text_bytes.decode()
    except UnicodeDecodeError:
        return False
    return True
