"""The simplest tokenizer that loses nothing: a token per byte, and six control tokens. No files, no training.

It goes with models/hash_model.py, for tests and measurements of everything around a model.
"""

from __future__ import annotations

from collections.abc import Sequence

from vortex.tokenizer.stream import ByteStreamDecoder, decode_bytes
from vortex.types import ChatMessage, ToolSpec

BEGIN_ID, END_ID = 256, 257
ROLE_IDS = {"system": 258, "user": 259, "assistant": 260, "tool": 261}
CONTROL_TEXT = {
    BEGIN_ID: "<|begin|>",
    END_ID: "<|end|>",
    **{token_id: f"<|{role}|>" for role, token_id in ROLE_IDS.items()},
}


class ByteTokenizer:
    """A Tokenizer of 262 ids: 0 to 255 are the bytes of UTF-8."""

    @property
    def vocab_size(self) -> int:
        return 256 + len(CONTROL_TEXT)

    @property
    def end_ids(self) -> frozenset[int]:
        return frozenset({END_ID})

    def encode(self, text: str, *, special: bool = False, add_bos: bool = False) -> list[int]:
        ids = [BEGIN_ID] if add_bos else []
        while special and text:
            found = [(at, token_id) for token_id, name in CONTROL_TEXT.items() if (at := text.find(name)) >= 0]
            if not found:
                break
            at, token_id = min(found)
            ids += [*text[:at].encode(errors="replace"), token_id]
            text = text[at + len(CONTROL_TEXT[token_id]) :]
        return ids + list(text.encode(errors="replace"))

    def decode(self, token_ids: Sequence[int], *, special: bool = False) -> str:
        shown = (token_id for token_id in token_ids if special or token_id < 256)
        return decode_bytes(b"".join(self.token_bytes(token_id) for token_id in shown), strip_space=False)

    def token_bytes(self, token_id: int) -> bytes:
        return bytes([token_id]) if token_id < 256 else CONTROL_TEXT[token_id].encode()

    def stream_decoder(self, shown: frozenset[int] = frozenset()) -> ByteStreamDecoder:
        return ByteStreamDecoder(lambda i: bytes([i]) if i < 256 else b"", strip_space=False)


class ByteChatFormat:
    """Each turn: its role's token, the bytes of its content, the end token. Tools and options are not written."""

    def encode(self, messages: Sequence[ChatMessage], tools: Sequence[ToolSpec] = (), **options: object) -> list[int]:
        ids = [BEGIN_ID]
        for message in messages:
            ids += [ROLE_IDS[message.role], *message.content.encode(errors="replace"), END_ID]
        return [*ids, ROLE_IDS["assistant"]]
