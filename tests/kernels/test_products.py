"""Products with packed weights: near the oracle, and the same bits however they are asked for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kernels.weights import random_rows
from vortex.errors import UnsupportedModel
from vortex.kernels import reference
from vortex.kernels.formats import Format
from vortex.kernels.native import NativeCore
from vortex.kernels.packed import PackedMatrix, pack

FORMATS = list(Format)


def activations(rows: int, columns: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, columns)).astype(np.float32)


def packed(kind: Format, data: np.ndarray, rows: int, columns: int) -> PackedMatrix:
    return PackedMatrix(kind, pack(kind, data, rows, columns), (rows, columns))


@pytest.mark.parametrize("kind", FORMATS, ids=lambda kind: kind.name)
def test_every_instruction_set_gives_the_oracles_product_and_the_same_bits(native: NativeCore, kind: Format) -> None:
    rows, columns = 52, 512  # the last tile is not full
    data, x = random_rows(kind, rows, columns), activations(13, columns)
    oracle = reference.product(kind, data, (rows, columns), x)
    tiles, straight = packed(kind, data, rows, columns), PackedMatrix(kind, data, (rows, columns), packed=False)
    seen = set()
    for name in native.available():
        native.use(name)
        y = tiles(x)
        assert np.abs(y - oracle).max() <= 2e-6 * np.abs(oracle).max() * np.sqrt(columns), name
        assert np.array_equal(straight(x), y), f"{name}: GGUF's own rows"
        seen.add(y.tobytes())
    assert len(seen) == 1


@pytest.mark.parametrize("kind", FORMATS, ids=lambda kind: kind.name)
def test_rows_do_not_depend_on_the_batch_or_the_threads(native: NativeCore, kind: Format) -> None:
    rows, columns = 96, 256
    matrix, x = packed(kind, random_rows(kind, rows, columns), rows, columns), activations(150, columns)
    expected = np.concatenate([matrix(row[None]) for row in x])
    for threads in (1, 2, 5):
        native.set_threads(threads)
        for height in (2, 3, 4, 7, 8, 16, 64, 150):
            assert np.array_equal(matrix(x[:height]), expected[:height]), (threads, height)


@pytest.mark.parametrize("kind", FORMATS, ids=lambda kind: kind.name)
def test_rounding_activations_costs_at_most_a_hundredth(native: NativeCore, kind: Format) -> None:
    data, x = random_rows(kind, 256, 2048), activations(8, 2048)
    exact = x.astype(np.float64) @ reference.dense(kind, data, 256, 2048).astype(np.float64).T
    assert np.abs(packed(kind, data, 256, 2048)(x) - exact).max() <= 0.01 * np.abs(exact).max()


@pytest.mark.parametrize("kind", FORMATS, ids=lambda kind: kind.name)
def test_rows_come_back_out_of_the_tiles(native: NativeCore, kind: Format) -> None:
    data = random_rows(kind, 37, 256)
    dense = reference.dense(kind, data, 37, 256)
    ids = np.array([36, 0, 5, 5, 16])
    for matrix in (packed(kind, data, 37, 256), PackedMatrix(kind, data, (37, 256), packed=False)):
        assert np.array_equal(matrix.gather(ids), dense[ids])


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(FORMATS), st.integers(1, 70), st.integers(1, 4), st.integers(1, 21), st.integers(0, 1000))
def test_any_shape(kind: Format, rows: int, blocks: int, height: int, seed: int) -> None:
    columns = blocks * kind.column_multiple if not kind.is_float else blocks * 7
    data, x = random_rows(kind, rows, columns, seed), activations(height, columns, seed)
    oracle = reference.product(kind, data, (rows, columns), x)
    y = packed(kind, data, rows, columns)(x)
    assert np.abs(y - oracle).max() <= 1e-4 * max(1.0, np.abs(oracle).max())


def test_unaligned_and_read_only_bytes_are_read_in_place(native: NativeCore) -> None:
    data = random_rows(Format.Q4_1, 32, 128)
    tiles = pack(Format.Q4_1, data, 32, 128)
    shifted = np.frombuffer(b"\0\0\0" + tiles.tobytes(), np.uint8)[3:]
    assert not shifted.flags.writeable
    x = activations(3, 128)
    expected = PackedMatrix(Format.Q4_1, tiles, (32, 128))(x)
    for name in native.available():
        native.use(name)
        assert np.array_equal(PackedMatrix(Format.Q4_1, shifted, (32, 128))(x), expected), name


def test_zeros_and_huge_values_stay_numbers(native: NativeCore) -> None:
    matrix = packed(Format.Q8_0, random_rows(Format.Q8_0, 16, 64), 16, 64)
    assert not matrix(np.zeros((2, 64), np.float32)).any()
    assert np.isfinite(matrix(np.full((1, 64), 1e30, np.float32))).all()
    assert matrix(np.zeros((0, 64), np.float32)).shape == (0, 16)


def test_what_does_not_fit_is_refused(native: NativeCore) -> None:
    with pytest.raises(UnsupportedModel, match="multiple of 256"):
        pack(Format.Q4_K, np.zeros(144, np.uint8), 1, 128)
    with pytest.raises(ValueError, match="do not fit"):
        PackedMatrix(Format.Q4_0, np.zeros(17, np.uint8), (1, 32))
    matrix = packed(Format.Q4_0, random_rows(Format.Q4_0, 16, 64), 16, 64)
    with pytest.raises(ValueError, match="do not fit"):
        matrix(np.zeros((1, 96), np.float32))
    with pytest.raises(ValueError, match="outside"):
        matrix.gather(np.array([16]))


def test_the_smallest_and_largest_exponents_are_exact(native: NativeCore) -> None:
    data = random_rows(Format.MXFP4, 6, 32)
    data[:, 0] = [0, 1, 2, 127, 240, 250]
    matrix = packed(Format.MXFP4, data, 6, 32)
    assert np.array_equal(matrix.gather(np.arange(6)), reference.dense(Format.MXFP4, data, 6, 32))
    x = np.zeros((1, 32), np.float32)
    x[0, :2] = [1, -1]
    expected, seen = reference.product(Format.MXFP4, data, (6, 32), x), set()
    for name in native.available():
        native.use(name)
        seen.add(matrix(x).tobytes())
        np.testing.assert_allclose(matrix(x), expected, rtol=1e-5, atol=1e-38)
    assert len(seen) == 1
