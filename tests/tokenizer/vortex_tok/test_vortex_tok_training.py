"""Training: deterministic, resumable, honest about corpora that are too small; every code is in use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vortex.errors import ModelNotFound, RequestError
from vortex.tokenizer.vortex_tok import (
    CodeClass,
    Corpus,
    TrainingSettings,
    Vocabulary,
    VortexTokenizer,
    corpus_of,
    load_vocabulary,
    load_vortex_tokenizer,
    read_corpus,
    train,
)
from vortex.tokenizer.vortex_tok.core import IS_NATIVE, Core
from vortex.tokenizer.vortex_tok.training import PROGRESS_FOLDER
from vortex.tokenizer.vortex_tok.vocabulary import NUM_ESC, Parse

SETTINGS = TrainingSettings(vocab_size=1024)
learns = pytest.mark.skipif(not IS_NATIVE, reason="takes minutes without the native core")


class Interrupted(Exception):
    pass


@learns
def test_training_is_deterministic_and_resumes_to_the_same(corpus: Corpus, folder: Path, tmp_path: Path) -> None:
    said: list[str] = []

    def stop_in_the_middle(line: str) -> None:
        said.append(line)
        if sum("pruning" in line for line in said) == 2:
            raise Interrupted

    with pytest.raises(Interrupted):
        train(corpus, SETTINGS, tmp_path, {}, stop_in_the_middle)
    assert [path.name for path in tmp_path.iterdir()] == [PROGRESS_FOLDER]
    with pytest.raises(ModelNotFound):
        load_vocabulary(tmp_path)

    said.clear()
    train(corpus, SETTINGS, tmp_path, {}, said.append)
    assert not any("PATCH" in line for line in said)
    assert load_vocabulary(tmp_path) == load_vocabulary(folder)
    assert not (tmp_path / PROGRESS_FOLDER).exists()


@learns
def test_steps_of_another_run_are_not_continued(corpus: Corpus, tmp_path: Path) -> None:
    def stop(line: str) -> None:
        if "MACRO" in line:
            raise Interrupted

    with pytest.raises(Interrupted):
        train(corpus, TrainingSettings(vocab_size=900), tmp_path, {}, stop)
    (tmp_path / PROGRESS_FOLDER / "step.json").write_text("{")
    said: list[str] = []
    train(corpus, SETTINGS, tmp_path, {}, said.append)
    assert any("PATCH" in line for line in said)


@learns
@pytest.mark.parametrize("parse", Parse)
def test_no_code_is_idle_and_the_size_is_what_was_asked(corpus: Corpus, tmp_path: Path, parse: Parse) -> None:
    settings = TrainingSettings(vocab_size=1024, parse=parse)
    made = train(corpus, settings, tmp_path, {}, lambda _: None)
    uses, _ = Core(made.pieces, made.costs, parse is Parse.GREEDY).usage(corpus.data, corpus.ends)
    assert uses[NUM_ESC:].min() >= settings.min_uses
    assert 1000 <= made.size <= 1024


def test_macros_stay_within_a_line(tokenizer: VortexTokenizer) -> None:
    vocabulary = tokenizer.vocabulary
    macros = [piece for i, piece in enumerate(vocabulary.pieces) if vocabulary.class_of(i) is CodeClass.MACRO]
    assert macros
    assert not any(piece.endswith(b"\n") or b"\n" in piece.lstrip() for piece in macros)


def test_fewer_codes_than_words(corpus: Corpus, tokenizer: VortexTokenizer) -> None:
    assert len(tokenizer.encode_bytes(corpus.data)) < len(corpus.data) / 3


@pytest.mark.parametrize(
    ("texts", "message"),
    [([b"a" * 100_000], "too small or too uniform"), ([b"Hello, world.\n"], "too small or too uniform")],
)
def test_a_corpus_that_cannot_fill_the_vocabulary(tmp_path: Path, texts: list[bytes], message: str) -> None:
    folder = tmp_path / "out"
    with pytest.raises(RequestError, match=message):
        train(corpus_of(texts), SETTINGS, folder, {}, lambda _: None)
    assert not folder.exists()


def test_a_vocabulary_too_small_for_its_classes() -> None:
    with pytest.raises(RequestError, match="too small: 256 single bytes"):
        TrainingSettings(vocab_size=300)


def test_a_corpus_is_text_files_of_any_depth(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no text"):
        read_corpus([tmp_path])
    (tmp_path / "a" / ".hidden").mkdir(parents=True)
    (tmp_path / "a" / "b.txt").write_bytes(b"text\n" * 400)
    (tmp_path / "a" / ".hidden" / "c.txt").write_bytes(b"no")
    (tmp_path / "a" / "site-packages").mkdir()
    (tmp_path / "a" / "site-packages" / "d.txt").write_bytes(b"no")
    (tmp_path / "picture").write_bytes(b"\0\1\2")
    (tmp_path / "broken.gz").write_bytes(b"not gzip")
    (tmp_path / "empty").write_bytes(b"")
    read = read_corpus([tmp_path])
    assert (read.num_files, read.left_out, read.data) == (1, 2, b"text\n" * 400)
    assert all(document.endswith(b"\n") for document in read.documents())
    assert len(read_corpus([tmp_path], limit_bytes=100).data) == 100
    with pytest.raises(ModelNotFound, match="--corpus"):
        read_corpus([tmp_path / "nowhere"])


@learns
def test_a_phrase_of_one_document_earns_no_code(tmp_path: Path, corpus: Corpus) -> None:
    phrase = b"the quick brown fox jumps over "
    texts = [*corpus.documents(), phrase * 400]
    made = train(corpus_of(texts), SETTINGS, tmp_path, {}, lambda _: None)
    assert isinstance(made, Vocabulary)
    assert not any(b"brown fox" in piece for piece in made.pieces)


@pytest.mark.long
def test_a_hundred_megabytes_of_everything_come_back() -> None:
    tokenizer = load_vortex_tokenizer()
    random = np.random.default_rng(0)
    library = Path(np.__file__).parent.parent
    seen = 0
    for path in sorted(library.rglob("*")):
        if path.is_file() and not path.is_symlink():
            data = path.read_bytes()[: 8 << 20]
            assert tokenizer.decode_bytes(tokenizer.encode_bytes(data)) == data, path
            seen += len(data)
        if seen > 70e6:
            break
    for _ in range(20):
        data = random.bytes(1 << 20) + "日本語 русский 🙂👩‍👩‍👧 <|end|>".encode() * 20_000
        assert tokenizer.decode_bytes(tokenizer.encode_bytes(data)) == data
        seen += len(data)
    assert seen > 100e6
