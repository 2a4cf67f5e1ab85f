"""Vocabulary folders and streams: what is written loads; what is damaged, foreign or cut says so."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vortex.errors import ModelFileError, ModelNotFound
from vortex.tokenizer.vortex_tok import (
    Parse,
    Vocabulary,
    VortexTokenizer,
    load_vocabulary,
    read_stream,
    save_vocabulary,
    write_stream,
)
from vortex.tokenizer.vortex_tok.files import HEAD_FILE, pack_trie, unpack_trie
from vortex.tokenizer.vortex_tok.vocabulary import ordered_pieces

TEXT = "naïve 日本語 🙂\n".encode() * 5 + bytes(range(256)) + b"<|end|>"

pieces = st.sets(st.binary(min_size=2, max_size=40), max_size=30).map(ordered_pieces)


@given(pieces, st.sampled_from(Parse), st.data())
@settings(max_examples=20)
def test_a_saved_vocabulary_loads_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, some: tuple[bytes, ...], parse: Parse, data: st.DataObject
) -> None:
    costs = data.draw(st.lists(st.integers(1, 2**24), min_size=len(some), max_size=len(some)))
    made = Vocabulary(some, tuple(costs), parse, ("<x>", "é"))
    folder = tmp_path_factory.mktemp("saved")
    save_vocabulary(made, folder, {"corpus": "none"})
    assert load_vocabulary(folder) == made


@given(pieces, st.data())
@settings(max_examples=50)
def test_a_cut_trie_is_refused(some: tuple[bytes, ...], data: st.DataObject) -> None:
    packed = pack_trie(Vocabulary(some, (1,) * len(some), Parse.FEWEST))
    with pytest.raises(ModelFileError):
        unpack_trie(packed[: data.draw(st.integers(0, len(packed) - 1))])
    with pytest.raises(ModelFileError):
        unpack_trie(packed + b"\0")


def test_saving_again_leaves_one_vocabulary(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    small = Vocabulary(ordered_pieces({b"ab"}), (1,) * 257, Parse.GREEDY)
    save_vocabulary(small, tmp_path, {})
    assert load_vocabulary(tmp_path) == small
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "not a Vortex-Tok tokenizer"),
        ({"version": 99}, "format version 99"),
        ({"parse": "magic"}, "damaged"),
        ({"specials": ["<|other|>"]}, "changed by hand"),
        ({"codes": {"esc": 256, "patch": 1, "macro": 1}}, "disagree"),
        ({"trie": {"file": "../../etc/passwd", "sha256": ""}}, "names"),
        ({"trie": None}, "damaged"),
    ],
)
def test_a_foreign_or_changed_head_is_refused(
    folder: Path, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    head = json.loads((tmp_path / HEAD_FILE).read_text())
    (tmp_path / HEAD_FILE).write_text(json.dumps(head | change))
    with pytest.raises(ModelFileError, match=message):
        load_vocabulary(tmp_path)


def test_damaged_and_missing_files_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="tokenizer-train"):
        load_vocabulary(tmp_path)
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    (trie,) = tmp_path.glob("*.trie")
    changed = bytearray(trie.read_bytes())
    changed[len(changed) // 2] ^= 1
    trie.write_bytes(changed)
    with pytest.raises(ModelFileError, match="checksum"):
        load_vocabulary(tmp_path)
    (tmp_path / HEAD_FILE).write_bytes(b"\xff{")
    with pytest.raises(ModelFileError, match="not valid JSON"):
        load_vocabulary(tmp_path)


def stream_of(tokenizer: VortexTokenizer, data: bytes) -> bytes:
    out = io.BytesIO()
    totals = write_stream(tokenizer, io.BytesIO(data), out)
    assert totals.num_bytes == len(data)
    assert totals.num_codes == len(tokenizer.encode_bytes(data))
    return out.getvalue()


@given(data=st.binary(max_size=500))
@settings(max_examples=50)
def test_a_stream_gives_the_bytes_back(tokenizer: VortexTokenizer, data: bytes) -> None:
    assert b"".join(read_stream(tokenizer, io.BytesIO(stream_of(tokenizer, data)))) == data


def test_a_stream_cut_anywhere_is_refused(tokenizer: VortexTokenizer) -> None:
    stream = stream_of(tokenizer, TEXT)
    for end in range(len(stream)):
        with pytest.raises(ModelFileError):
            list(read_stream(tokenizer, io.BytesIO(stream[:end])))
    with pytest.raises(ModelFileError, match="after its end"):
        list(read_stream(tokenizer, io.BytesIO(stream + b"\0")))


def test_a_stream_with_any_byte_changed_is_refused(tokenizer: VortexTokenizer) -> None:
    stream = stream_of(tokenizer, TEXT)
    for at in range(len(stream)):
        changed = stream[:at] + bytes([stream[at] ^ 0x11]) + stream[at + 1 :]
        given = bytearray()
        with pytest.raises(ModelFileError):
            for part in read_stream(tokenizer, io.BytesIO(changed)):
                given += part
        assert given in (b"", TEXT)


def test_a_stream_of_another_tokenizer_is_refused(tokenizer: VortexTokenizer) -> None:
    other = VortexTokenizer(Vocabulary(ordered_pieces(set()), (1,) * 256, Parse.FEWEST))
    with pytest.raises(ModelFileError, match="another tokenizer"):
        list(read_stream(other, io.BytesIO(stream_of(tokenizer, TEXT))))
