"""A token per byte loses nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vortex.tokenizer.byte_tokenizer import ByteChatFormat, ByteTokenizer
from vortex.types import ChatMessage

TOKENIZER = ByteTokenizer()


@given(st.text())
def test_text_comes_back(text):
    text = text.encode(errors="replace").decode()
    ids = TOKENIZER.encode(text)
    assert TOKENIZER.decode(ids) == text
    decoder = TOKENIZER.stream_decoder()
    assert "".join(decoder.push(token_id) for token_id in ids) + decoder.flush() == text


def test_control_tokens_are_read_only_when_asked():
    assert TOKENIZER.encode("a<|end|>b<|user|>", special=True) == [97, 257, 98, 259]
    assert TOKENIZER.encode("<|end|>", add_bos=True) == [256, *b"<|end|>"]
    assert TOKENIZER.decode([97, 257], special=True) == "a<|end|>"
    assert TOKENIZER.decode([97, 257]) == "a"


def test_a_conversation_ends_with_the_opening_of_the_answer():
    ids = ByteChatFormat().encode([ChatMessage(role="user", content="hé")])
    assert ids == [256, 259, *"hé".encode(), 257, 260]
