"""A model's own tokenizer behind the house's protocol, on the `tokenizers` library.

Promises the ids that the model was trained with, text that is never parsed for control tokens unless asked, and
decoding by bytes, so that a stream and a whole decode agree. Safe to use from several threads.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Sequence
from pathlib import Path

from tokenizers import AddedToken
from tokenizers import Tokenizer as RustTokenizer

from vortex.tokenizer.files import SETTINGS_FILE, TokenizerFiles
from vortex.tokenizer.huggingface import tokenizer_files_from_folder
from vortex.tokenizer.panics import panics_told, reads
from vortex.tokenizer.stream import ByteStreamDecoder, decode_bytes
from vortex.tokenizer.token_bytes import piece_reader

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # its pool would only warn at forks
_CONTROL_SHAPE = re.compile(r"<[|｜].*[|｜]>")


class HouseTokenizer:
    """A `vortex.protocols.Tokenizer`.

    `settings` is what the model's files say beyond the vocabulary; `control_tokens` maps the text of every control
    token to its id. Raises ModelFileError for a `tokenizer.json` that does not load.
    """

    def __init__(self, files: TokenizerFiles) -> None:
        with reads("the model's tokenizer.json"):
            self._rust = RustTokenizer.from_buffer(files.tokenizer_json)
            self._rust.no_truncation()
            self._rust.no_padding()
            self._piece_bytes, self._strip_space = piece_reader(self._rust)
            self.control_tokens = self._find_control_tokens()
        self._lock = threading.Lock()  # encode_special_tokens is a setting of the whole tokenizer
        self.settings = files.settings
        self._control_ids = frozenset(self.control_tokens.values())
        self._added = {i: token.content for i, token in self._rust.get_added_tokens_decoder().items()}
        self._bytes: dict[int, bytes] = {}

    def _find_control_tokens(self) -> dict[str, int]:
        """Special tokens, and those whose shape says so though their file does not flag them (`<|user|>`)."""
        added = self._rust.get_added_tokens_decoder()
        shaped = [token for token in added.values() if not token.special and _CONTROL_SHAPE.fullmatch(token.content)]
        if shaped:
            self._rust.add_special_tokens(
                [
                    AddedToken(token.content, lstrip=token.lstrip, rstrip=token.rstrip, normalized=False)
                    for token in shaped
                ]
            )
            added = self._rust.get_added_tokens_decoder()
        return {token.content: token_id for token_id, token in added.items() if token.special}

    @property
    def vocab_size(self) -> int:
        return int(self._rust.get_vocab_size(with_added_tokens=True))

    @property
    def num_text_tokens(self) -> int:
        """Ids that ordinary text can become: all but added tokens."""
        return int(self._rust.get_vocab_size(with_added_tokens=False))

    @property
    def end_ids(self) -> frozenset[int]:
        return frozenset(self.settings.end_ids)

    def encode(self, text: str, *, special: bool = False, add_bos: bool = False) -> list[int]:
        """`add_bos` puts the beginning-of-sequence id first if this model wants one (`settings.add_bos`)."""
        text = text.encode("utf-8", errors="replace").decode()  # lone surrogates have no bytes
        with self._lock:
            self._rust.encode_special_tokens = not special
            with panics_told("the model's tokenizer cannot read this text"):
                # the batch's call, since it alone lets other threads run meanwhile
                ids: list[int] = self._rust.encode_batch_fast([text], add_special_tokens=False)[0].ids
        bos_id = self.settings.bos_id
        if add_bos and self.settings.add_bos and bos_id is not None and ids[:1] != [bos_id]:
            ids.insert(0, bos_id)
        return ids

    def decode(self, token_ids: Sequence[int], *, special: bool = False) -> str:
        data = b"".join(self._shown(token_id, special) for token_id in token_ids)
        return decode_bytes(data, strip_space=self._strip_space)

    def token_bytes(self, token_id: int) -> bytes:
        """Empty for an id without a token (a padding row of the model's vocabulary)."""
        data = self._bytes.get(token_id)
        if data is None:
            data = self._bytes[token_id] = self._read_bytes(token_id)
        return data

    def _read_bytes(self, token_id: int) -> bytes:
        if token_id in self._added:
            return self._added[token_id].encode()
        piece = self._rust.id_to_token(token_id) if token_id >= 0 else None
        return b"" if piece is None else self._piece_bytes(piece)

    def _shown(self, token_id: int, special: bool) -> bytes:
        return b"" if token_id in self._control_ids and not special else self.token_bytes(token_id)

    def stream_decoder(self, shown: frozenset[int] = frozenset()) -> ByteStreamDecoder:
        """Its pieces joined equal `decode(ids)`: control tokens vanish, but those that are `shown`."""
        return ByteStreamDecoder(
            lambda token_id: self._shown(token_id, token_id in shown), strip_space=self._strip_space
        )


def load_tokenizer(folder: Path) -> HouseTokenizer:
    """The tokenizer of a packed model folder, or of a Hugging Face model folder.

    Raises ModelFileError or UnsupportedModel, naming the file at fault.
    """
    packed = (folder / SETTINGS_FILE).exists()
    return HouseTokenizer(TokenizerFiles.load(folder) if packed else tokenizer_files_from_folder(folder))
