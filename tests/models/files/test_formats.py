"""Our block decoders against the gguf package's, on random bytes: every bit pattern is a legal block."""

from __future__ import annotations

import numpy as np
import pytest
from gguf.constants import GGML_QUANT_SIZES
from gguf.constants import GGMLQuantizationType as Type

from vortex.errors import UnsupportedModel
from vortex.models.files.formats import SUPPORTED, affine, check_supported, dense
from vortex.models.files.raw_tensor import RawTensor

PACKED = [kind for kind in SUPPORTED if kind not in {Type.F32, Type.F16, Type.BF16}]


def random_tensor(kind: Type, rows: int = 6, columns: int = 512) -> RawTensor:
    rng = np.random.default_rng(int(kind))
    width, num_bytes = GGML_QUANT_SIZES[kind]
    if kind in {Type.F32, Type.F16, Type.BF16}:
        values = rng.standard_normal((rows, columns)).astype(np.float32)
        if kind == Type.F16:
            return RawTensor(kind, rows, columns, values.astype(np.float16).view(np.uint8))
        if kind == Type.BF16:
            return RawTensor(kind, rows, columns, (values.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8))
        return RawTensor(kind, rows, columns, values.view(np.uint8))
    blocks = rng.integers(0, 256, (rows, columns // width, num_bytes), dtype=np.uint8)
    halves = {Type.Q6_K: (208,), Type.Q4_1: (0, 2), Type.Q4_K: (0, 2), Type.Q5_K: (0, 2)}.get(kind, (0,))
    for at in halves:  # fp16 scales stay finite
        scales = rng.uniform(0.01, 0.1, blocks.shape[:2]).astype(np.float16)
        blocks[..., at : at + 2] = scales[..., None].view(np.uint8)
    if kind == Type.MXFP4:  # an exponent
        blocks[..., 0] = rng.integers(118, 125, blocks.shape[:2])
    return RawTensor(kind, rows, columns, blocks.reshape(rows, -1))


@pytest.mark.parametrize("kind", PACKED, ids=lambda kind: kind.name)
def test_affine_codes_are_the_weights(kind: Type) -> None:
    tensor = random_tensor(kind)
    codes, oracle = affine(tensor), dense(tensor)
    tolerance = (
        1 / 127 if kind in {Type.Q6_K, Type.MXFP4} else 1e-6
    )  # these two are rounded, the others are exact up to one rounding
    assert np.abs(codes.dense() - oracle).max() <= tolerance * np.abs(oracle).max()
    assert codes.code.max() < 2**codes.bits
    assert codes.bits == (4 if kind in {Type.Q4_0, Type.Q4_1, Type.Q4_K} else 8)


@pytest.mark.parametrize("kind", [Type.F32, Type.F16, Type.BF16], ids=lambda kind: kind.name)
@pytest.mark.parametrize("bits", [8, 4])
def test_floats_are_rounded_within_half_a_step(kind: Type, bits: int) -> None:
    tensor = random_tensor(kind)
    codes, oracle = affine(tensor, bits_for_floats=bits), dense(tensor)
    assert codes.bits == bits
    step = np.repeat(codes.scale, 32, axis=1)
    assert (np.abs(codes.dense() - oracle) <= 0.5001 * step + 1e-6).all()


def test_constant_groups_and_zeros_survive() -> None:
    values = np.zeros((2, 64), np.float32)
    values[1] = 3.0
    tensor = RawTensor(Type.F32, 2, 64, values.view(np.uint8))
    for bits in (8, 4):
        np.testing.assert_allclose(affine(tensor, bits_for_floats=bits).dense(), values, rtol=1e-6)


def test_unknown_formats_are_named() -> None:
    tensor = RawTensor(Type.IQ2_XS, 1, 256, np.zeros((1, 74), np.uint8))
    with pytest.raises(UnsupportedModel, match=r"blk.0 is in format IQ2_XS; known: F32"):
        check_supported(tensor, "blk.0")


def test_columns_that_fit_no_group_are_refused() -> None:
    with pytest.raises(UnsupportedModel, match="multiple of 32"):
        affine(RawTensor(Type.F32, 1, 40, np.zeros((1, 160), np.uint8)))
