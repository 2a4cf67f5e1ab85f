"""Drafts by looking up: what followed the last time this text ended like this, in the answer and its prompt
(`SuffixDrafter`) or in earlier answers (`HistoryDrafter`). Evidence is the length of the match.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from vortex.decode.drafting.drafter import AnswerSoFar, Proposal, evidence_of
from vortex.decode.drafting.suffix_automaton import ROOT, SuffixAutomaton

LEAST_HISTORY_MATCH = 2
MOST_HISTORIES = 4
Halves = tuple[SuffixAutomaton, SuffixAutomaton]


class SuffixDrafter:
    name = "suffix"
    is_dear = False

    def begin(self, answer: AnswerSoFar) -> SuffixPath:
        return SuffixPath(answer.token_ids)


class SuffixPath:
    """One answer and its prompt as one text."""

    def __init__(self, token_ids: Sequence[int]) -> None:
        self._text = SuffixAutomaton()
        self._text.extend(token_ids)

    def extend(self, token_ids: Sequence[int]) -> None:
        self._text.extend(token_ids)

    def propose(self, ahead: Sequence[int], limit: int) -> Proposal | None:
        if ahead:
            state, length = self._text.at_end()
            for token_id in ahead:
                state, length = self._text.step(state, length, token_id)
            place = self._text.place(state)
        else:
            length, place = self._text.longest_match()
        if not length:
            return None
        found = self._text.continuation(place, limit, ahead)
        return Proposal(found, [evidence_of(length)] * len(found)) if found else None

    def close(self) -> None:
        """Nothing is shared."""


class HistoryDrafter:
    """Remembers the last `max_tokens` tokens of answers that ended, prompts included: in two halves, the older of
    which is dropped when the younger is full. What one adapter wrote is no guess for another: each has its own memory,
    and of more than a few adapters those least used are forgotten."""

    name = "history"
    is_dear = False

    def __init__(self, max_tokens: int = 65536) -> None:
        self._half_tokens = max(max_tokens // 2, 1)
        self._by_adapter: OrderedDict[str, Halves] = OrderedDict()  # the least recently used first

    def begin(self, answer: AnswerSoFar) -> HistoryPath:
        return HistoryPath(self, answer)

    def halves(self, adapter: str = "") -> Halves:
        """The older and the younger half of what was written with this adapter."""
        found = self._by_adapter.pop(adapter, None) or (SuffixAutomaton(), SuffixAutomaton())
        self._by_adapter[adapter] = found
        while len(self._by_adapter) > MOST_HISTORIES:
            self._by_adapter.popitem(last=False)
        return found

    def remember(self, token_ids: Sequence[int], adapter: str = "") -> None:
        halves = self.halves(adapter)
        if len(halves[1]) + len(token_ids) > self._half_tokens:
            halves = self._by_adapter[adapter] = (halves[1], SuffixAutomaton())
        halves[1].extend(token_ids[-self._half_tokens :])


class HistoryPath:
    def __init__(self, history: HistoryDrafter, answer: AnswerSoFar) -> None:
        self._history = history
        self._adapter = answer.adapter
        self._text = list(answer.token_ids)
        self._matches = [_Match(half) for half in history.halves(answer.adapter)]
        for match in self._matches:
            match.follow(answer.token_ids)

    def extend(self, token_ids: Sequence[int]) -> None:
        self._text.extend(token_ids)
        for match in self._matches:
            match.follow(token_ids)

    def propose(self, ahead: Sequence[int], limit: int) -> Proposal | None:
        matches = [match.copy().follow(ahead) if ahead else match for match in self._matches]
        best = max(matches, key=lambda match: match.length)  # of equals the older one: its text is complete
        if best.length < LEAST_HISTORY_MATCH:
            return None
        found = best.text.continuation(best.text.place(best.state), limit)
        return Proposal(found, [evidence_of(best.length)] * len(found)) if found else None

    def close(self) -> None:
        self._history.remember(self._text, self._adapter)


class _Match:
    """How much of another text's end is found in `text`, kept up as that text grows."""

    def __init__(self, text: SuffixAutomaton, state: int = ROOT, length: int = 0) -> None:
        self.text, self.state, self.length = text, state, length

    def follow(self, token_ids: Sequence[int]) -> _Match:
        state, length = self.state, self.length
        if self.text.tokens:
            for token_id in token_ids:
                state, length = self.text.step(state, length, token_id)
        self.state, self.length = state, length
        return self

    def copy(self) -> _Match:
        return _Match(self.text, self.state, self.length)
