"""Matrices of published quantised safetensors, read into kinds that are multiplied with: GPTQ, AWQ, compressed, FP8.

4-bit ones keep their codes and become Q4_1 (a group's scale and zero in blocks of 32 columns, both rounded to fp16;
three quarters of a bit per weight more than the file had). FP8 ones are unpacked to float32, and packed as any float
is. Layouts: GPTQ and AWQ pack eight codes along an int32, GPTQ down the columns, AWQ across the rows in an order of its
own; compressed-tensors pack along a row. Codes of other widths, and groups that are no multiple of 32, are refused by
name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from gguf.constants import GGMLQuantizationType as Type

from vortex.errors import ModelFileError, UnsupportedModel
from vortex.models.files.raw_tensor import RawTensor
from vortex.records.foreign import ForeignValues

GROUP, PER_WORD = 32, 8
AWQ_ORDER = (0, 4, 1, 5, 2, 6, 3, 7)  # where code k of eight lies within the word
METHODS = ("gptq", "awq", "compressed-tensors", "fp8")
Values = Mapping[str, np.ndarray]
ENDINGS = {
    "gptq": ("qweight", "qzeros", "scales", "g_idx"),
    "awq": ("qweight", "qzeros", "scales"),
    "compressed-tensors": ("weight_packed", "weight_scale", "weight_zero_point", "weight_shape", "weight_g_idx"),
}


@dataclass(frozen=True, slots=True)
class Quantisation:
    """method: one of METHODS, or `fp8-compressed`. zero_offset: GPTQ's first format stores zeros minus one."""

    method: str
    symmetric: bool = False
    zero_offset: int = 0
    block: tuple[int, int] = (0, 0)  # of FP8's scales; 0: per row or whole


def read_quantisation(values: ForeignValues) -> Quantisation | None:
    """Of a configuration's `quantization_config`; None where there is none, or MXFP4. Raises UnsupportedModel."""
    said = values.nested("quantization_config")
    method = said.text("quant_method", "none", most=64)
    if not said.values_by_key or method in {"none", "mxfp4"}:
        return None
    if method not in METHODS:
        raise UnsupportedModel(
            f"{values.origin}: weights quantised by {method!r} are not supported; known: {', '.join(METHODS)}, mxfp4, "
            "and GGUF files"
        )
    if method == "fp8":
        rows, columns = (*said.wholes("weight_block_size", [0, 0]), 0, 0)[:2]
        return Quantisation("fp8", block=(rows, columns))
    if method == "compressed-tensors":
        return _compressed(said)
    bits = said.whole("bits", said.whole("w_bit", 4))
    if bits != 4:
        raise UnsupportedModel(f"{values.origin}: {method} of {bits} bits is not supported; 4 are")
    is_old = method == "gptq" and said.text("checkpoint_format", "gptq", most=64) == "gptq"
    return Quantisation(method, zero_offset=int(is_old))


def _compressed(said: ForeignValues) -> Quantisation:
    groups = said.nested("config_groups")
    names = list(groups.values_by_key)
    if len(names) != 1:
        raise UnsupportedModel(f"{said.origin}: {len(names)} groups of quantisation; one is supported")
    weights = groups.nested(names[0]).nested("weights")
    bits, kind = weights.whole("num_bits", 8), weights.text("type", "int", most=64)
    if kind == "float" and bits == 8:
        return Quantisation("fp8")
    if kind != "int" or bits != 4 or said.text("format", "", most=64) != "pack-quantized":
        raise UnsupportedModel(
            f"{said.origin}: compressed weights of {bits} bits ({kind}) are not supported; int4 and fp8"
        )
    return Quantisation("compressed-tensors", symmetric=weights.flag("symmetric", True))


def parts_of(name: str, quantisation: Quantisation) -> tuple[str, ...]:
    """Names of what a matrix `X.weight` may be stored as instead, or beside."""
    base = name.removesuffix("weight")
    if quantisation.method == "fp8":
        return (f"{base}weight_scale_inv", f"{base}weight_scale", f"{base}input_scale", f"{base}activation_scale")
    return tuple(base + ending for ending in ENDINGS[quantisation.method])


def read_matrix(quantisation: Quantisation, read: Callable[[str], np.ndarray | None], origin: str) -> RawTensor | None:
    """The matrix whose parts `read` finds by their ending (`qweight`, …); None where it is not quantised.

    read: numbers as stored, [rows, columns]; int32 words, floats in float32. Raises ModelFileError, UnsupportedModel.
    """
    first = "weight_packed" if quantisation.method == "compressed-tensors" else "qweight"
    words, scales = read(first), read("weight_scale" if first == "weight_packed" else "scales")
    if words is None:
        return None
    if scales is None:
        raise ModelFileError(f"{origin} has codes and no scales; it is not a complete model")
    if quantisation.method == "compressed-tensors":
        codes, zeros = _along_rows(words), read("weight_zero_point")
        zeros_RG = np.full(scales.shape, 8.0) if zeros is None else _along_rows(zeros.T.copy()).T
        return _q4_1(codes, scales, zeros_RG[: len(scales)].astype(np.float32), origin)
    zero_words = read("qzeros")
    if zero_words is None:
        raise ModelFileError(f"{origin} has codes and no zeros; it is not a complete model")
    if quantisation.method == "awq":
        codes_CR, zeros_GR = _across(words, AWQ_ORDER), _across(zero_words, AWQ_ORDER)
    else:
        order = read("g_idx")
        columns = len(words) * PER_WORD
        if order is not None and not np.array_equal(order.ravel(), np.arange(columns) // (columns // len(scales))):
            raise UnsupportedModel(f"{origin}: GPTQ with columns out of order (desc_act) is not supported")
        codes_CR = _along_rows(np.ascontiguousarray(words.T)).T
        zeros_GR = _across(zero_words, tuple(range(PER_WORD))) + quantisation.zero_offset
    return _q4_1(np.ascontiguousarray(codes_CR.T), scales.T, zeros_GR.T.astype(np.float32), origin)


def _along_rows(words_RW: np.ndarray) -> np.ndarray:
    """Eight codes of an int32, the lowest first, one after the other: uint8 [R, 8 W]."""
    shifts = 4 * np.arange(PER_WORD, dtype=np.uint32)
    codes = (words_RW.view(np.uint32)[..., None] >> shifts) & 15
    return codes.astype(np.uint8).reshape(len(words_RW), -1)


def _across(words: np.ndarray, order: tuple[int, ...]) -> np.ndarray:
    """As `_along_rows`; code k lies in place order[k]."""
    return _along_rows(words).reshape(len(words), -1, PER_WORD)[..., list(order)].reshape(len(words), -1)


def _q4_1(codes_RC: np.ndarray, scales_RG: np.ndarray, zeros_RG: np.ndarray, origin: str) -> RawTensor:
    """scale * (code - zero) as blocks of 32: fp16 scale, fp16 -scale * zero, nibbles."""
    rows, columns = codes_RC.shape
    groups = scales_RG.shape[1]
    if scales_RG.shape != zeros_RG.shape or len(scales_RG) != rows or columns % groups or columns // groups % GROUP:
        raise UnsupportedModel(
            f"{origin}: {groups} groups over {columns} columns; groups of a multiple of 32 are supported"
        )
    blocks = np.empty((rows, columns // GROUP, 20), np.uint8)
    repeat = columns // groups // GROUP
    minimum = -scales_RG.astype(np.float32) * zeros_RG
    for at, numbers in ((0, scales_RG), (2, minimum)):
        halves = np.repeat(numbers, repeat, axis=1).astype(np.float16)
        blocks[..., at : at + 2] = halves[..., None].view(np.uint8)
    nibbles = codes_RC.reshape(rows, -1, 2, 16)
    blocks[..., 4:] = nibbles[:, :, 0] | (nibbles[:, :, 1] << 4)
    return RawTensor(Type.Q4_1, rows, columns, blocks.reshape(rows, -1))


def unpack_fp8(codes_RC: np.ndarray, scale: np.ndarray, quantisation: Quantisation, origin: str) -> RawTensor:
    """codes: uint8, E4M3. scale: of blocks, of rows, or one for all."""
    rows, columns = codes_RC.shape
    values = FP8_VALUES[codes_RC]
    if min(quantisation.block) > 0 and scale.size > 1:
        height, width = quantisation.block
        full = np.repeat(np.repeat(scale.reshape(-(-rows // height), -1), height, 0)[:rows], width, 1)[:, :columns]
    else:
        full = scale.reshape(-1, 1)
    if full.shape not in {(rows, columns), (rows, 1), (1, 1)}:
        raise ModelFileError(f"{origin}: scales {scale.shape} for a matrix of {rows} x {columns}; it is damaged")
    return RawTensor(Type.F32, rows, columns, (values * full).astype(np.float32).view(np.uint8))


def _fp8_values() -> np.ndarray:
    """E4M3 without infinities: all codes as float32; 0x7F and 0xFF are no numbers."""
    codes = np.arange(256)
    sign, exponent, mantissa = np.where(codes & 128, -1.0, 1.0), (codes >> 3) & 15, codes & 7
    normal = (1 + mantissa / 8) * 2.0 ** (exponent - 7)
    values = sign * np.where(exponent == 0, mantissa / 8 * 2.0**-6, normal)
    values[[0x7F, 0xFF]] = np.nan
    return values.astype(np.float32)


FP8_VALUES = _fp8_values()
