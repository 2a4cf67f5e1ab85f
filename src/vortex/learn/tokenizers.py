"""Which tokenizer a core is trained with: the byte tokenizer, a folder of Vortex-Tok, or one made of the same text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vortex.learn.encoders import ChatEncoder, dialogue_text
from vortex.tokenizer.byte_tokenizer import BEGIN_ID, END_ID, ByteChatFormat, ByteTokenizer
from vortex.tokenizer.vortex_tok import (
    Parse,
    TrainingSettings,
    VortexTokenizer,
    corpus_of,
    load_vortex_tokenizer,
    train,
)
from vortex.tokenizer.vortex_tok.chat_format import VortexChatFormat
from vortex.tokenizer.vortex_tok.files import HEAD_FILE
from vortex.training.documents import Document, find_files, read_documents

BYTES = "bytes"
MAX_TOKENIZER_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class ChosenTokenizer:
    """folder: None for bytes. bytes_of_id: int64 [vocab], how many bytes of text each id stands for."""

    encoder: ChatEncoder
    folder: Path | None
    bytes_of_id: np.ndarray


def byte_tokenizer() -> ChosenTokenizer:
    tokenizer = ByteTokenizer()
    lengths = np.array([1] * 256 + [0] * (tokenizer.vocab_size - 256), np.int64)
    return ChosenTokenizer(
        ChatEncoder(BYTES, tokenizer, ByteChatFormat(), [BEGIN_ID], [END_ID], [END_ID]), None, lengths
    )


def vortex_tokenizer(folder: Path) -> ChosenTokenizer:
    """Raises ModelNotFound, ModelFileError."""
    tokenizer: VortexTokenizer = load_vortex_tokenizer(folder)
    chat_format = VortexChatFormat(tokenizer)
    name = f"vortex-tok {tokenizer.fingerprint.hex()}"
    vocabulary = tokenizer.vocabulary
    lengths = np.array([*map(len, vocabulary.pieces), *[0] * len(vocabulary.specials)], np.int64)
    encoder = ChatEncoder(
        name, tokenizer, chat_format, chat_format.begin_ids, chat_format.turn_end_ids, chat_format.end_ids
    )
    return ChosenTokenizer(encoder, folder, lengths)


def made_of(
    data: Sequence[Path], folder: Path, *, vocab_size: int, parse: str, say: Callable[[str], None]
) -> ChosenTokenizer:
    """A Vortex-Tok of this text, held-out documents left out; one that is in the folder already is taken."""
    if not (folder / HEAD_FILE).exists():
        documents = read_documents(find_files(data), MAX_TOKENIZER_BYTES)
        texts = [_text(document) for document in documents if not document.is_held_out]
        settings = TrainingSettings(vocab_size=vocab_size, parse=Parse(parse))
        say(f"making a tokenizer of {sum(map(len, texts)) / 1e6:.1f} MB")
        train(corpus_of(texts), settings, folder, {"corpus": ", ".join(path.name for path in data)}, say)
    return vortex_tokenizer(folder)


def _text(document: Document) -> bytes:
    return document.text or dialogue_text(document.messages).encode()
