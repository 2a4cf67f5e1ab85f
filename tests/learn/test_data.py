"""Text becomes documents, documents tokens, tokens batches."""

from __future__ import annotations

import gzip
import json
from importlib import resources

import numpy as np
import pytest

from vortex.errors import ConfigError, ModelFileError, ModelNotFound
from vortex.learn.dialogues import facts, teacher_prompts
from vortex.learn.teacher_text import cleaned
from vortex.learn.tokenizers import byte_tokenizer, made_of
from vortex.tokenizer.byte_tokenizer import BEGIN_ID, END_ID, ROLE_IDS
from vortex.training.batches import Batches, held_out_windows
from vortex.training.documents import Document, find_files, read_documents
from vortex.training.token_store import TokenPart, open_store
from vortex.types import ChatMessage


def test_files_become_documents(tmp_path) -> None:
    (tmp_path / "a.txt").write_text("plain")
    (tmp_path / "b.gz").write_bytes(gzip.compress(b"packed"))
    (tmp_path / "c.jsonl").write_text('{"text": "row"}\n{"messages": [{"role": "user", "content": "Hi"}]}\n')
    (tmp_path / "d.bin").write_bytes(b"\0")
    (tmp_path / ".hidden").write_text("no")
    found = list(read_documents(find_files([tmp_path]), 1 << 20))
    assert [document.text for document in found] == [b"plain", b"packed", b"row", b""]
    assert found[3].messages == (ChatMessage(role="user", content="Hi"),)


def test_a_long_text_is_cut_at_blank_lines_and_nothing_is_lost(tmp_path) -> None:
    text = b"\n\n".join(b"word " * 400 for _ in range(80))
    (tmp_path / "long").write_bytes(text)
    pieces = [document.text for document in read_documents(find_files([tmp_path]), 1 << 20)]
    assert len(pieces) > 1
    assert b"".join(pieces) == text
    assert all(piece.endswith(b"\n\n") for piece in pieces[:-1])


@pytest.mark.parametrize("line", ["nonsense", '{"messages": [{"role": "user"}]}', "[]", '{"text": 3}'])
def test_a_broken_row_is_named(tmp_path, line: str) -> None:
    (tmp_path / "a.jsonl").write_text(f'{{"text": "good"}}\n{line}\n')
    with pytest.raises(ModelFileError, match=r"a\.jsonl, line 2"):
        list(read_documents(find_files([tmp_path]), 1 << 20))


def test_data_that_is_not_there_is_named(tmp_path) -> None:
    with pytest.raises(ModelNotFound, match="name a text file or a folder"):
        find_files([tmp_path / "nothing"])
    with pytest.raises(ModelNotFound, match="no files under"):
        find_files([tmp_path])


def test_a_dialogue_is_written_as_a_chat_writes_it() -> None:
    messages = (ChatMessage(role="user", content="Hi"), ChatMessage(role="assistant", content="Ho"))
    ids = byte_tokenizer().encoder.encode(Document(messages=messages))
    assert ids == [BEGIN_ID, ROLE_IDS["user"], *b"Hi", END_ID, ROLE_IDS["assistant"], *b"Ho", END_ID]


def test_held_out_documents_are_never_trained_on_and_a_store_is_used_again(tmp_path) -> None:
    rows = [json.dumps({"text": f"document number {number}"}) for number in range(300)]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))
    files, encoder = find_files([tmp_path / "rows.jsonl"]), byte_tokenizer().encoder
    store = open_store(tmp_path / "store", files, encoder, limit_bytes=1 << 20)
    texts = [
        {bytes(part.tokens[a + 1 : b - 1].astype(np.uint8)) for a, b in zip(part.starts, part.starts[1:], strict=False)}
        for part in (store.train, store.held_out)
    ]
    assert texts[1]
    assert not texts[0] & texts[1]
    before = (tmp_path / "store" / "store.json").stat().st_mtime_ns
    open_store(tmp_path / "store", files, encoder, limit_bytes=1 << 20)
    assert (tmp_path / "store" / "store.json").stat().st_mtime_ns == before
    (tmp_path / "rows.jsonl").write_text("\n".join(rows[:200]))
    assert len(open_store(tmp_path / "store", files, encoder, limit_bytes=1 << 20).train.starts) < 200


def test_batches_follow_from_the_seed_and_the_step_alone() -> None:
    part = TokenPart(np.arange(1000, dtype=np.int32), np.arange(0, 1000, 50), 1000)
    one, two = (Batches(part, window=16, batch=4, seed=3) for _ in range(2))
    for step in (0, 7, 40):
        two.batch(step + 1)
        assert (one.batch(step) == two.batch(step)).all()
    assert (one.batch(0) != Batches(part, window=16, batch=4, seed=4).batch(0)).any()
    rows = np.concatenate([one.batch(step) for step in range(15)])
    assert (np.diff(rows, axis=1) == 1).all(), "each row is a piece of the text"
    assert np.mean(rows[:, 0] % 50 == 0) > 0.1, "some begin where a document does"


def test_too_little_data_is_said() -> None:
    with pytest.raises(ConfigError, match="too few for windows of 64"):
        Batches(TokenPart(np.arange(40, dtype=np.int32), np.zeros(1, np.int64), 40), window=64, batch=1, seed=0)


def test_a_held_out_window_stays_in_its_document() -> None:
    part = TokenPart(np.arange(100, dtype=np.int32), np.array([0, 30, 95]), 100)
    windows = held_out_windows(part, 16, 99)
    assert [(int(w[0]), int(w[-1])) for w in windows] == [
        (0, 16),
        (16, 29),
        (30, 46),
        (46, 62),
        (62, 78),
        (78, 94),
        (95, 99),
    ]


def test_a_tokenizer_is_made_of_the_data(tmp_path) -> None:
    text = (resources.files("vortex.bench") / "data" / "origin_of_species_8.txt").read_bytes()
    (tmp_path / "a.txt").write_bytes(text[:20_000])
    chosen = made_of([tmp_path / "a.txt"], tmp_path / "made", vocab_size=400, parse="fewest", say=lambda _: None)
    messages = (ChatMessage(role="user", content="the 3"), ChatMessage(role="assistant", content="were 4"))
    ids = chosen.encoder.encode(Document(messages=messages))
    assert sum(chosen.bytes_of_id[ids]) == len("the 3were 4")
    assert chosen.encoder.tokenizer.decode(ids) == "the 3were 4"


def test_questions_follow_from_the_seed() -> None:
    assert facts(1, 1) == facts(1, 1) != facts(2, 1)
    prompts = teacher_prompts(0, 3000)
    assert len({prompt.question for prompt in prompts}) == 3000
    assert all(dialogue[-1][0] == "assistant" and dialogue[-2][0] == "user" for dialogue in facts(0, 1))


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        ("A dog is an animal. It bar", "A dog is an animal."),
        ("As an AI, I cannot say.", None),
        ("no end", None),
        ("It’s a cat.\n\nIt purrs.", "It's a cat. It purrs."),
        ("Ça va bien ici.", None),
    ],
)
def test_a_teachers_answer_is_cleaned(answer: str, kept: str | None) -> None:
    assert cleaned(answer) == kept
