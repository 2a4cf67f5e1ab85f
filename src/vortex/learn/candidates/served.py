"""A model as it answers people, by the house's own contract: what the gates are measured on is what is served.

Greedy answers for many questions at once, and the distributions over a text, each with an adapter or without.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from vortex.protocols import ChatFormat, LanguageModel, Tokenizer
from vortex.types import Adapter, ChatMessage, SequenceState, Span, Want

TOGETHER = 8  # sequences of one sweep


@dataclass(frozen=True, slots=True)
class Served:
    """Owns nothing: whoever opened the model closes it. remembered: what the base answered, by question and length."""

    model: LanguageModel
    tokenizer: Tokenizer
    chat_format: ChatFormat
    remembered: dict[tuple[str, int], str] = field(default_factory=dict)

    def prompt(self, question: str, system: str = "") -> list[int]:
        opening = (ChatMessage(role="system", content=system),) if system else ()
        return self.chat_format.encode((*opening, ChatMessage(role="user", content=question)))

    def answer_ids(self, question: str, statement: str, system: str = "") -> tuple[list[int], int]:
        """The whole turn as the model would have written it, to its end; and where the answer begins."""
        prompt = self.prompt(question, system)
        ends = self.tokenizer.end_ids
        opening = (ChatMessage(role="system", content=system),) if system else ()
        spoken = (ChatMessage(role="user", content=question), ChatMessage(role="assistant", content=statement))
        whole = self.chat_format.encode((*opening, *spoken), add_generation_prompt=False)
        if whole[: len(prompt)] == prompt and any(token in ends for token in whole[len(prompt) :]):
            end = next(index for index in range(len(prompt), len(whole)) if whole[index] in ends)
            return whole[: end + 1], len(prompt)
        return [*prompt, *self.tokenizer.encode(statement), *sorted(ends)[:1]], len(prompt)

    def answers(self, questions: Sequence[str], adapter: Adapter | None = None, *, max_tokens: int = 40) -> list[str]:
        """The likeliest token each time, without a system message of ours, cut at `max_tokens`.

        The base is asked once: a row depends on its own tokens alone.
        """
        known = {} if adapter else self.remembered
        new = [question for question in dict.fromkeys(questions) if (question, max_tokens) not in known]
        for start in range(0, len(new), TOGETHER):
            asked = new[start : start + TOGETHER]
            written = self.write([self.prompt(question) for question in asked], adapter, max_tokens)
            known |= {
                (question, max_tokens): self.tokenizer.decode(ids).strip()
                for question, ids in zip(asked, written, strict=True)
            }
        return [known[question, max_tokens] for question in questions]

    def write(self, prompts: Sequence[Sequence[int]], adapter: Adapter | None, max_tokens: int) -> list[list[int]]:
        """Ids of each answer without its end, all decoded together."""
        states = [self.model.new_state() for _ in prompts]
        try:
            written: list[list[int]] = [[] for _ in prompts]
            last = [self._read(state, prompt, adapter) for state, prompt in zip(states, prompts, strict=True)]
            for _ in range(max_tokens):
                live = [index for index, token in enumerate(last) if token not in self.tokenizer.end_ids]
                if not live:
                    break
                for index in live:
                    written[index].append(last[index])
                output = self.model.sweep([Span(states[index], [last[index]], adapter=adapter) for index in live])
                for index, rows in zip(live, output.logits_rows, strict=True):
                    states[index].commit(1)
                    last[index] = int(output.logits[rows][-1].argmax())
            return written
        finally:
            for state in states:
                state.close()

    def logits(self, ids: Sequence[int], adapter: Adapter | None = None) -> np.ndarray:
        """After every token, float32 [tokens, vocab]."""
        state, rows = self.model.new_state(), []
        try:
            for start in range(0, len(ids), self.model.prefill_chunk):
                piece = ids[start : start + self.model.prefill_chunk]
                rows.append(self.model.sweep([Span(state, piece, Want.ALL_LOGITS, adapter)]).logits)
                state.commit(len(piece))
        finally:
            state.close()
        return np.concatenate(rows)

    def _read(self, state: SequenceState, prompt: Sequence[int], adapter: Adapter | None) -> int:
        """The likeliest token behind a prompt."""
        logits = np.zeros((1, 1), np.float32)
        for start in range(0, len(prompt), self.model.prefill_chunk):
            piece = prompt[start : start + self.model.prefill_chunk]
            logits = self.model.sweep([Span(state, piece, adapter=adapter)]).logits
            state.commit(len(piece))
        return int(logits[-1].argmax())
