"""Every block type of GGUF: read, and packed into a form that the core multiplies with."""

from __future__ import annotations

import numpy as np
import pytest
from gguf.constants import GGML_QUANT_SIZES
from gguf.constants import GGMLQuantizationType as Type
from gguf.quants import dequantize

from vortex.errors import UnsupportedModel
from vortex.models.decoder.native_pack import in_known_format
from vortex.models.files.kindred import as_kindred
from vortex.models.files.raw_tensor import HALF_SCALES, RawTensor, check_finite

OTHERS = {Type.Q8_1, Type.Q8_K, Type.Q1_0}  # of no weights; the last one the gguf package cannot read either
BLOCKS = [kind for kind in Type if kind not in OTHERS and GGML_QUANT_SIZES[kind][0] > 1]
ONE_HALF = {  # where a block keeps its fp16
    Type.IQ2_XXS: (0,), Type.IQ2_XS: (0,), Type.IQ2_S: (0,), Type.IQ3_XXS: (0,), Type.IQ3_S: (0,), Type.IQ1_S: (0,),
    Type.TQ1_0: (52,), Type.TQ2_0: (64,), **HALF_SCALES,
}  # fmt: skip


def random_tensor(kind: Type, rows: int = 16, columns: int = 512) -> RawTensor:
    """Random codes under scales that are numbers."""
    width, block_bytes = GGML_QUANT_SIZES[kind]
    rng = np.random.default_rng(int(kind))
    blocks = rng.integers(0, 256, (rows * columns // width, block_bytes), np.uint8)
    for at in ONE_HALF.get(kind, ()):
        scales = (0.01 + rng.random(len(blocks)) / 50).astype(np.float16)
        blocks[:, at : at + 2] = scales.reshape(-1, 1).view(np.uint8)
    if kind is Type.MXFP4:
        blocks[:, 0] = rng.integers(120, 130, len(blocks))
    if kind is Type.IQ1_M:  # the fp16 is spread over four nibbles
        scale = np.asarray([0.02], np.float16).view(np.uint16)[0]
        packed = blocks[:, 48:56].view(np.uint16)
        for number in range(4):
            packed[:, number] = (packed[:, number] & 0x0FFF) | (((scale >> (4 * number)) & 15) << 12)
    return RawTensor(kind, rows, columns, blocks.reshape(rows, -1))


def values(tensor: RawTensor) -> np.ndarray:
    return dequantize(np.ascontiguousarray(tensor.data), tensor.type).reshape(tensor.rows, -1)


@pytest.mark.parametrize("kind", [Type.Q3_K, Type.IQ4_NL, Type.TQ1_0, Type.TQ2_0], ids=lambda kind: kind.name)
def test_kin_are_the_same_numbers(kind: Type) -> None:
    tensor = random_tensor(kind)
    kin = as_kindred(tensor)
    assert kin.type != kind
    assert np.array_equal(values(kin), values(tensor))


def test_the_scales_of_iq4_xs_are_rounded_once() -> None:
    tensor = random_tensor(Type.IQ4_XS)
    kin = as_kindred(tensor)
    assert kin.type is Type.Q8_0
    assert np.allclose(values(kin), values(tensor), rtol=2**-11, atol=0)


@pytest.mark.parametrize("kind", BLOCKS, ids=lambda kind: kind.name)
def test_every_block_type_is_packed_near_what_it_says(kind: Type) -> None:
    tensor = random_tensor(kind)
    check_finite(tensor, "w", "test")
    known, data = in_known_format(tensor, "w", "auto")
    wanted = values(tensor)
    packed = dequantize(np.ascontiguousarray(data), Type[known.name]).reshape(wanted.shape)
    groups = np.abs(wanted).reshape(-1, 32).max(1).repeat(32).reshape(wanted.shape)
    assert np.all(np.abs(packed - wanted) <= groups / 127 * 0.6 + 1e-7), f"{kind.name} as {known.name}"


def test_what_nobody_reads_is_refused_by_name() -> None:
    tensor = random_tensor(Type.Q1_0)
    with pytest.raises(UnsupportedModel, match="tensor w is in format Q1_0, which cannot be read"):
        in_known_format(tensor, "w", "auto")
