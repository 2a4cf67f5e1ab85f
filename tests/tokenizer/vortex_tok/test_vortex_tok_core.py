"""Encoder and decoder: every byte comes back, the cheapest parse is found, both cores agree, time stays linear."""

from __future__ import annotations

import time
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vortex.tokenizer.vortex_tok import core, reference

ESC = [bytes([value]) for value in range(256)]
native_only = pytest.mark.skipif(not core.IS_NATIVE, reason="the native core is not built")

few_letters = st.text("ab \n", min_size=2, max_size=9).map(str.encode)
vocabularies = st.dictionaries(few_letters, st.integers(1, 40), max_size=40)
texts = st.text("ab \nc", max_size=300).map(str.encode)


def core_of(kind: type, extra: dict[bytes, int], greedy: bool = False) -> reference.Core:
    return kind(ESC + list(extra), [20] * 256 + list(extra.values()), greedy)


def cheapest(extra: dict[bytes, int], data: bytes) -> int:
    """Textbook recursion over all prefixes, without windows or early commits."""
    best = [0]
    for end in range(1, len(data) + 1):
        options = [best[end - 1] + 20]
        options += [best[end - len(piece)] + cost for piece, cost in extra.items() if data[:end].endswith(piece)]
        best.append(min(options))
    return best[-1]


@given(vocabularies, texts)
def test_the_parse_is_the_cheapest_there_is(extra: dict[bytes, int], data: bytes) -> None:
    made = core_of(core.Core, extra)
    codes = made.encode(data)
    costs = [20] * 256 + list(extra.values())
    assert made.decode(codes) == data
    assert sum(costs[code] for code in codes.tolist()) == cheapest(extra, data)


@native_only
@given(vocabularies, st.lists(texts, max_size=4), st.booleans())
def test_native_and_reference_agree_in_everything(
    extra: dict[bytes, int], documents: list[bytes], greedy: bool
) -> None:
    fast, slow = core_of(core.Core, extra, greedy), core_of(reference.Core, extra, greedy)
    data = b"".join(documents)
    ends = np.cumsum([len(document) for document in documents]).astype(np.int64)
    np.testing.assert_array_equal(fast.encode(data), slow.encode(data))
    for ours, theirs in zip(fast.usage(data, ends), slow.usage(data, ends), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(fast.costs_without(), slow.costs_without())


@native_only
@pytest.mark.parametrize("unit", [b"a", b"aab"])
def test_native_and_reference_agree_where_paths_hardly_meet(unit: bytes) -> None:
    extra = {b"a" * n: 20 for n in (2, 3, 5, 7)} | {b"ba": 20, b"ab": 20}
    data = unit * (75_000 // len(unit))
    fast, slow = core_of(core.Core, extra), core_of(reference.Core, extra)
    codes = fast.encode(data)
    assert fast.decode(codes) == data
    np.testing.assert_array_equal(codes, slow.encode(data))


@given(vocabularies, texts, st.lists(st.integers(0, 300), max_size=6), st.booleans())
def test_how_a_stream_is_cut_changes_nothing(
    extra: dict[bytes, int], text: bytes, cuts: list[int], greedy: bool
) -> None:
    data = text * 40  # long enough to pass several checks
    for kind, stream in ((core.Core, core.StreamEncoder), (reference.Core, reference.StreamEncoder)):
        made = core_of(kind, extra, greedy)
        encoder = stream(made)
        bounds = [0, *sorted(min(cut * 40, len(data)) for cut in cuts), len(data)]
        parts = [encoder.push(data[a:b]) for a, b in zip(bounds, bounds[1:], strict=False)]
        np.testing.assert_array_equal(np.concatenate([*parts, encoder.finish()]), made.encode(data))
        if kind is core.Core and core.IS_NATIVE is False:
            break


@given(st.binary(max_size=2000))
def test_any_bytes_come_back(data: bytes) -> None:
    made = core_of(core.Core, {b"\xff\xfe": 3, b"\x00\x00\x00": 2, b"\xe2\x82": 9})
    assert made.decode(made.encode(data)) == data


@pytest.mark.parametrize("kind", [core.Core, reference.Core])
def test_codes_out_of_range_are_refused(kind: type) -> None:
    made = core_of(kind, {})
    for codes in ([256], [-1], [0, 2**31 - 1]):
        with pytest.raises(IndexError):
            made.decode(np.array(codes, np.int32))


@pytest.mark.parametrize("kind", [core.Core, reference.Core])
def test_a_list_that_is_no_vocabulary_is_refused(kind: type) -> None:
    with pytest.raises(ValueError, match="single byte"):
        kind([*ESC[1:], b"ab"], [1] * 256, False)
    with pytest.raises(ValueError, match="twice"):
        kind([*ESC, b"ab", b"ab"], [1] * 258, False)
    with pytest.raises(ValueError, match="cost"):
        kind(ESC, [1], False)


@native_only
@given(
    st.lists(
        st.tuples(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.integers(1, 5)), min_size=1, max_size=6
    ),
    st.integers(1, 6),
    st.integers(2, 12),
)
@settings(max_examples=150)
def test_native_and_reference_learn_the_same_merges(
    weighted: list[tuple[list[int], int]], min_weight: int, max_bytes: int
) -> None:
    symbols = np.array([symbol for sequence, _ in weighted for symbol in sequence], np.int32)
    starts = np.cumsum([0, *(len(sequence) for sequence, _ in weighted[:-1])]).astype(np.int64)
    weights = np.array([weight for _, weight in weighted], np.int64)
    sequences = (symbols, starts, weights, [1, 1, 2, 1])
    limits = {"max_merges": 12, "min_weight": min_weight, "max_bytes": max_bytes}
    assert core.learn_merges(*sequences, **limits) == reference.learn_merges(*sequences, **limits)


@native_only
def test_time_grows_with_the_bytes_and_not_with_their_square() -> None:
    made = core_of(core.Core, {b"a" * n: 20 for n in range(2, 49)})

    def seconds(data: bytes) -> float:
        times = []
        for _ in range(5):
            started = time.thread_time()  # of the processor: whoever else runs does not count
            made.encode(data)
            times.append(time.thread_time() - started)
        return min(times)

    once, four_times = map(seconds, (b"a" * 100_000, b"a" * 400_000))
    assert four_times / once < 10  # quadratic would be 16; the bench measures the bar at length


def test_the_reference_can_be_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess
    import sys

    code = "from vortex.tokenizer.vortex_tok import core, reference; print(core.Core is reference.Core)"
    run = partial(subprocess.run, capture_output=True, text=True, check=True)
    monkeypatch.setenv("VORTEX_TOKENIZER", "reference")
    assert run([sys.executable, "-c", code]).stdout.strip() == "True"
