"""A conversation in Vortex-Tok's own tokens: begin, then per turn its role's token, the text, the end of the turn.

Roles and ends come from ids alone, so what a user wrote can never become one. Tools are spelled out as text.
"""

from __future__ import annotations

from collections.abc import Sequence

from vortex.errors import RequestError
from vortex.tokenizer.tool_prompt import spell_out_tools, uses_tools
from vortex.tokenizer.vortex_tok.tokenizer import VortexTokenizer
from vortex.types import ChatMessage, ToolSpec

BEGIN, END_OF_TURN, END = "<|begin|>", "<|end_of_turn|>", "<|end|>"


class VortexChatFormat:
    """A `vortex.protocols.ChatFormat`. Raises RequestError for a vocabulary without the tokens of a conversation."""

    def __init__(self, tokenizer: VortexTokenizer) -> None:
        self._tokenizer = tokenizer
        self.begin_ids = self._special(BEGIN)
        self.turn_end_ids = self._special(END_OF_TURN)
        self.end_ids = self._special(END)

    def encode(self, messages: Sequence[ChatMessage], tools: Sequence[ToolSpec] = (), **options: object) -> list[int]:
        """Of the options only add_generation_prompt=False means something here: end with the last turn."""
        if not messages:
            raise RequestError("a conversation needs at least one message", param="messages")
        if uses_tools(messages, tools):
            messages = spell_out_tools(messages, tools)
        ids = list(self.begin_ids)
        for message in messages:
            ids += [*self._role(message.role), *self._tokenizer.encode(message.content), *self.turn_end_ids]
        return ids if options.get("add_generation_prompt") is False else [*ids, *self._role("assistant")]

    def _role(self, role: str) -> list[int]:
        if role not in {"system", "user", "assistant", "tool"}:
            raise RequestError(f"no role is called {role!r}: system, user, assistant or tool", param="messages")
        return self._special(f"<|{role}|>")

    def _special(self, text: str) -> list[int]:
        ids = self._tokenizer.encode(text, special=True)
        if len(ids) != 1:
            raise RequestError(f"this tokenizer has no {text}: train it again with its default special tokens")
        return ids
