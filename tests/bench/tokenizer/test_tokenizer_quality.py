"""Bits per byte that count every byte, equal compute for all, and a run that goes on where it stopped."""

from __future__ import annotations

import inspect
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vortex.bench.measurement import CheckFailed, run_measurement
from vortex.bench.tokenizer.corpora import Documents
from vortex.bench.tokenizer.quality import QualityMeasurement, compare, sample_of
from vortex.bench.tokenizer.small_transformer import SHAPES, SmallModel, SmallTransformer, bits_of_documents, train
from vortex.bench.tokenizer.variants import VARIANTS, encode_texts, load_documents, load_variant, prepare

TINY = SmallModel(9, width=16, layers=1, heads=2, window_tokens=8, batch=4)
LIBRARY = Path(inspect.__file__).parent
DOCUMENTS = Documents(
    [(LIBRARY / name).read_bytes()[:40_000] for name in ("inspect.py", "typing.py", "ast.py")],
    {"code": [(LIBRARY / "abc.py").read_bytes()], "random bytes": [bytes(range(256))]},
    ("tests",),
)


def test_every_id_is_judged_once_whatever_the_windows() -> None:
    """A model of zeros gives every id log2(V) bits."""
    net = SmallTransformer(TINY)
    net.embed.weight.data.zero_()
    documents = [np.arange(length, dtype=np.int32) % 8 for length in (1, 3, 4, 5, 8, 9, 31)]
    bits = bits_of_documents(net, documents, begin_id=8)
    assert bits == pytest.approx([len(document) * np.log2(9) for document in documents], rel=1e-5)


def test_windows_do_not_show_a_model_what_it_has_to_guess() -> None:
    """Judged in windows or in one piece, what fits into one window costs the same."""
    net = SmallTransformer(replace(TINY, window_tokens=64))
    net.embed.weight.data.mul_(40)
    document = np.random.default_rng(0).integers(0, 8, 32).astype(np.int32)
    whole = bits_of_documents(net, [document], begin_id=8)[0]
    parts = [bits_of_documents(net, [document[:end]], begin_id=8)[0] for end in (10, 20, 32)]
    assert parts == sorted(parts)
    assert parts[-1] == pytest.approx(whole)


@pytest.mark.long
def test_a_small_model_learns() -> None:
    stream = np.tile(np.arange(8, dtype=np.int32), 400)
    few, many = (SmallTransformer(replace(TINY, learning_rate=0.02)) for _ in range(2))
    train(few, stream, 2, print)
    train(many, stream, 50, print)
    judged = [bits_of_documents(net, [stream[:64]], begin_id=8)[0] for net in (few, many)]
    assert judged[1] < 0.5 * judged[0]


def test_the_error_of_a_difference_is_that_of_its_documents() -> None:
    assert compare([10.0, 20.0], [8.0, 16.0], [4, 8]) == (0.5, 0.0)  # the same everywhere: sure
    change, error = compare([10.0, 16.0], [8.0, 16.0], [4, 4])
    assert (change, error > 0.2) == (0.25, True)


def test_a_sample_takes_turns_and_breaks_no_line() -> None:
    taken = sample_of({"a": [b"one\ntwo\nthree", b"four"], "b": [b"\xc3\xa9\n" * 9]}, 10, 18)
    assert taken == [b"one\ntwo\n", b"\xc3\xa9\n" * 3, b"four"]


@pytest.mark.long
def test_an_interrupted_run_goes_on_and_the_prepared_folder_is_all_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(tmp_path, DOCUMENTS, 600, lambda _: None)
    assert load_documents(tmp_path) == DOCUMENTS
    said: list[str] = []
    shape = replace(SHAPES["cpu"], width=32, batch=2)

    def measurement(names: tuple[str, ...]) -> QualityMeasurement:
        return QualityMeasurement(tmp_path, shape, names, steps=40, say=said.append)

    run_measurement(measurement(VARIANTS[:2]))
    said.clear()
    figures = json.loads(run_measurement(measurement(VARIANTS)).as_json())
    assert not any("BPE" in line for line in said), "two were judged already"
    assert all(1 < figures[name]["bits_per_byte"] < 8 for name in VARIANTS)
    texts = DOCUMENTS.training * 12
    once = encode_texts(tmp_path, VARIANTS[2], texts)
    monkeypatch.setattr("vortex.bench.tokenizer.variants.MIN_PROCESSES", 1)
    monkeypatch.setattr("vortex.bench.tokenizer.variants.IS_NATIVE", False)
    assert all(np.array_equal(a, b) for a, b in zip(once, encode_texts(tmp_path, VARIANTS[2], texts), strict=True))
    ours = load_variant(tmp_path, VARIANTS[2])
    assert ours.decode(once[0]) == texts[0]


def test_vocabularies_of_different_sizes_are_no_equal_compute(tmp_path: Path) -> None:
    names = ("BPE", "Vortex-Tok fewest")
    prepare(tmp_path, DOCUMENTS, 600, lambda _: None, names[:1])
    prepare(tmp_path, DOCUMENTS, 700, lambda _: None, names[1:])
    with pytest.raises(CheckFailed, match="differ in size"):
        QualityMeasurement(tmp_path, SHAPES["cpu"], names).check()
