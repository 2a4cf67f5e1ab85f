"""How each tokenizer writes a document for training: begin, text, end; a dialogue with its roles' tokens.

The same tokens that a chat writes later (`ChatFormat`), so that what was learnt is what is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vortex.protocols import ChatFormat, Tokenizer
from vortex.tokenizer.vortex_tok import VortexTokenizer
from vortex.training.documents import Document
from vortex.types import ChatMessage


@dataclass(frozen=True, slots=True)
class ChatEncoder:
    """`name` tells two tokenizers apart; `begin` and `end` are put around plain text, `turn_end` after an answer."""

    name: str
    tokenizer: Tokenizer
    chat_format: ChatFormat
    begin: Sequence[int]
    turn_end: Sequence[int]
    end: Sequence[int]

    @property
    def vocab_size(self) -> int:
        return self.tokenizer.vocab_size

    def encode(self, document: Document) -> list[int]:
        if not document.messages:
            return [*self.begin, *self._plain(document.text), *self.end]
        ids: list[int] = []
        for at, message in enumerate(document.messages):
            if message.role == "assistant":
                before = self.chat_format.encode(document.messages[:at])
                ids = [*before, *self.tokenizer.encode(message.content), *self.turn_end]
        return ids

    def _plain(self, text: bytes) -> list[int]:
        if isinstance(self.tokenizer, VortexTokenizer):
            codes: list[int] = self.tokenizer.encode_bytes(text).tolist()
            return codes
        return self.tokenizer.encode(text.decode("utf-8", errors="replace"))


def dialogue_text(messages: Sequence[ChatMessage]) -> str:
    """What a tokenizer is trained on: the contents, a line each."""
    return "\n".join(message.content for message in messages)
