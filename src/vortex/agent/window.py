"""A conversation kept within a model's window: the oldest observations go first, and their place says so.

Nothing is cut in silence: a dropped observation leaves a line with its step and size, and the record names the steps.
Tokens are counted by the last request's own usage (characters a token), since a backend behind a wire shows no
tokenizer; until then three characters are taken for one. Promises: the task, the model's own acts and the newest
observation stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from vortex.types import ChatMessage

GUESSED_CHARS_PER_TOKEN = 3.0
SAFETY = 0.9  # of the window is used, since tokens are estimated


@dataclass(slots=True)
class Window:
    """context_tokens: what the model holds, or None. answer_tokens are kept free."""

    context_tokens: int | None
    answer_tokens: int
    chars_per_token: float = GUESSED_CHARS_PER_TOKEN
    overhead_tokens: int = 0  # of tools' descriptions and the like

    def learn(self, messages: Sequence[ChatMessage], prompt_tokens: int) -> None:
        """From a request's usage. What tools and roles add is taken for part of the text: on the safe side."""
        chars = sum(map(size_chars, messages))
        if prompt_tokens > 0 and chars > 0:
            self.chars_per_token = max(min(chars / prompt_tokens, GUESSED_CHARS_PER_TOKEN), 0.5)

    def tighten(self, messages: Sequence[ChatMessage]) -> None:
        """The backend said that these were too much: next time at most two thirds of them."""
        size = sum(map(size_chars, messages))
        if self.context_tokens is None:
            self.context_tokens = int(size / self.chars_per_token) + self.answer_tokens
        room_tokens = max(SAFETY * self.context_tokens - self.answer_tokens, 1.0)
        self.chars_per_token = min(self.chars_per_token, size / room_tokens) * 2 / 3

    def fit(self, messages: Sequence[ChatMessage]) -> tuple[list[ChatMessage], list[int]]:
        """The conversation with observations dropped until it fits, and the indices of those messages."""
        kept = list(messages)
        dropped: list[int] = []
        if self.context_tokens is None:
            return kept, dropped
        room = int((SAFETY * self.context_tokens - self.answer_tokens) * self.chars_per_token)
        observations = [index for index, message in enumerate(kept) if message.role == "tool"]
        for index in observations[:-1]:
            if sum(map(size_chars, kept)) <= room:
                break
            message = kept[index]
            note = f"[the result of this call was dropped to fit the window: {len(message.content)} characters]"
            if len(note) < len(message.content):
                kept[index] = replace(message, content=note)
                dropped.append(index)
        excess = sum(map(size_chars, kept)) - room
        if excess > 0 and observations:
            last = observations[-1]
            content = kept[last].content
            left = max(len(content) - excess - 80, 200)
            if left < len(content):
                note = f"\n[… {len(content) - left} characters were dropped to fit the window]"
                kept[last] = replace(kept[last], content=content[:left] + note)
                dropped.append(last)
        return kept, dropped


def size_chars(message: ChatMessage) -> int:
    return len(message.content) + sum(len(call.arguments) + len(call.name) + 16 for call in message.tool_calls) + 12
