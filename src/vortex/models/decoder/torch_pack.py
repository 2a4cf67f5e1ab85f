"""Packing a checkpoint for torch's products: 4-bit planes for the CPU kernel, or rows for any other device; one scale
and offset per 32 columns.

Layouts in the `.c3` folder:
  torch_int4   uint8 [rows, columns / 2] as `_convert_weight_to_int4pack_for_cpu` arranges it for this CPU, then
               bfloat16 [columns / 32, rows, 2] of (scale, offset): w = (code - 8) * scale + offset
  torch_int8   two torch_int4 tensors, high and low nibbles of 8-bit codes: their products add up. The kernel for
               bytes reads at half the speed and its rows depend on the batch; this one keeps the law
  torch_bf16   bfloat16 [rows, columns]
  rows_int4, rows_int8, mxfp4   torch_unpack.py: what a GPU unpacks; MXFP4 stays MXFP4 everywhere
  ggml_<TYPE>  rows as the source file has them (the embedding, of which a sweep reads a few rows)
  f32          vectors
Matrices that read the same input (q, k, v; gate, up) are stored as one when their bits agree. An expert's biases (gate,
up, down behind each other) are a part of its unit, `layers.3.experts.7.biases.0`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from gguf.constants import GGMLQuantizationType
from gguf.quants import quantize

from vortex.c3.format.folder import C3Writer
from vortex.models.decoder.torch_unpack import packed_rows
from vortex.models.files.checkpoint import EXPERT_BIASES, Checkpoint, layer_names
from vortex.models.files.decoder_config import DecoderConfig
from vortex.models.files.formats import GROUP, Affine, affine, check_supported, dense
from vortex.models.files.raw_tensor import RawTensor

ROWS_MULTIPLE = 16
ROWS_AT_ONCE = 8192  # a multiple of every block height that the converter uses
FUSED = {"qkv": ("q", "k", "v"), "attention_out": ("attention_out",), "gate_up": ("gate", "up"), "down": ("down",)}
ATTENTION = ("qkv", "attention_out")
ROWS_TAG = "rows1"
FLOATS = (GGMLQuantizationType.F32, GGMLQuantizationType.F16, GGMLQuantizationType.BF16)
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What matrices become: `form` as `pack` has it; `rows`: for any device, else planes for this CPU."""

    form: str
    rows: bool


def packed_tag() -> str:
    """The arrangement depends on torch's version and on the vector width it found on this CPU."""
    capability = torch.backends.cpu.get_cpu_capability().lower().replace(" ", "")
    return f"torch{torch.__version__.split('+')[0]}-{capability}"


def unit_names(config: DecoderConfig) -> list[str]:
    """Linears in the order of a sweep."""
    names = []
    for index in range(config.num_layers):
        names += [f"layers.{index}.{name}" for name in FUSED if not config.num_experts or name in ATTENTION]
        names += [f"layers.{index}.experts.{expert}" for expert in range(config.num_experts)]
    return [*names, "head"]


def pack(checkpoint: Checkpoint, writer: C3Writer, form: str = "auto", progress: Progress | None = None) -> None:
    """Every tensor of the model into `writer`, in the order of a sweep.

    `form`: auto keeps what the file has (floats become int8); int8 and int4 say what floats become; bf16 unpacks all.
    """
    _pack(checkpoint, writer, _Wanted(form, rows=False), progress)


def pack_rows(checkpoint: Checkpoint, writer: C3Writer, form: str = "auto", progress: Progress | None = None) -> None:
    """The same for a device that is no CPU."""
    _pack(checkpoint, writer, _Wanted(form, rows=True), progress)


def _pack(checkpoint: Checkpoint, writer: C3Writer, wanted: _Wanted, progress: Progress | None) -> None:
    config = checkpoint.config
    embedding = checkpoint.tensor("embedding")
    check_supported(embedding, "embedding")
    shape = (embedding.rows, embedding.columns)
    writer.add("embedding", f"ggml_{embedding.type.name}", shape, embedding.data)
    vectors, _ = layer_names(config)
    for index in range(config.num_layers):
        prefix = f"layers.{index}."
        for name in vectors:
            _add_vector(checkpoint, writer, prefix + name)
        for name in ATTENTION if config.num_experts else FUSED:
            _add_fused(checkpoint, writer, prefix, name, wanted)
        if config.num_experts:
            _add_experts(checkpoint, writer, prefix, wanted)
        if progress:
            progress(index + 1, config.num_layers + 1)
    _add_vector(checkpoint, writer, "final_norm")
    _add_matrices(checkpoint, writer, "head", ["head"], wanted)
    if progress:
        progress(config.num_layers + 1, config.num_layers + 1)


def _add_fused(checkpoint: Checkpoint, writer: C3Writer, prefix: str, name: str, wanted: _Wanted) -> None:
    _add_matrices(checkpoint, writer, prefix + name, [prefix + member for member in FUSED[name]], wanted)


def _add_experts(checkpoint: Checkpoint, writer: C3Writer, prefix: str, wanted: _Wanted) -> None:
    """The router in float32, then expert by expert."""
    router = dense(checkpoint.tensor(prefix + "router"))
    writer.add(prefix + "router", "f32", router.shape, router)
    for expert in range(checkpoint.config.num_experts):
        for name in ("gate_up", "down"):
            _add_fused(checkpoint, writer, f"{prefix}experts.{expert}.", name, wanted)
        if checkpoint.config.expert_biases:
            names = [f"{prefix}experts.{expert}.{name}" for name in EXPERT_BIASES]
            biases = np.concatenate([dense(checkpoint.tensor(name))[0] for name in names])
            writer.add(f"{prefix}experts.{expert}.biases.0", "f32", biases.shape, biases)


def _add_vector(checkpoint: Checkpoint, writer: C3Writer, name: str) -> None:
    values = dense(checkpoint.tensor(name))[0]
    writer.add(name, "f32", values.shape, values)


def _add_matrices(checkpoint: Checkpoint, writer: C3Writer, name: str, members: list[str], wanted: _Wanted) -> None:
    """One linear of the layer: runs of neighbouring members with equal bits become one part `name.0`, `name.1`, ..."""
    tensors = [checkpoint.tensor(member) for member in members]
    for tensor, member in zip(tensors, members, strict=True):
        check_supported(tensor, member)
    if wanted.form == "bf16":
        weight = torch.from_numpy(np.concatenate([dense(tensor) for tensor in tensors])).bfloat16()
        writer.add(f"{name}.0", "torch_bf16", tuple(weight.shape), weight.view(torch.uint8).numpy())
        return
    if wanted.form == "mxfp4":
        tensors = [_rounded_to_mxfp4(tensor) for tensor in tensors]
    if all(tensor.type == GGMLQuantizationType.MXFP4 for tensor in tensors):
        _add_mxfp4(writer, f"{name}.0", tensors)
        return
    runs: list[list[Affine]] = []
    for tensor in tensors:
        codes = affine(tensor, bits_for_floats=4 if wanted.form == "int4" else 8)
        if runs and runs[-1][0].bits == codes.bits:
            runs[-1].append(codes)
        else:
            runs.append([codes])
    for number, run in enumerate(runs):
        _add_part(writer, f"{name}.{number}", _joined(run), rows_only=wanted.rows)


def _rounded_to_mxfp4(tensor: RawTensor) -> RawTensor:
    """What is no float, or has no whole blocks, stays as it is."""
    if tensor.type not in FLOATS or tensor.columns % GROUP:
        return tensor
    data = quantize(dense(tensor), GGMLQuantizationType.MXFP4)
    return RawTensor(GGMLQuantizationType.MXFP4, tensor.rows, tensor.columns, data)


def _add_mxfp4(writer: C3Writer, name: str, tensors: list[RawTensor]) -> None:
    rows = np.concatenate([tensor.data for tensor in tensors])
    writer.add(name, "mxfp4", (len(rows), tensors[0].columns), rows)


def _joined(run: list[Affine]) -> Affine:
    if len(run) == 1:
        return run[0]
    code, scale, minimum = (
        np.concatenate(parts) for parts in zip(*((a.code, a.scale, a.minimum) for a in run), strict=True)
    )
    return Affine(run[0].bits, code, scale, minimum)


def _add_part(writer: C3Writer, name: str, codes: Affine, *, rows_only: bool) -> None:
    rows, columns = codes.code.shape
    if rows_only:
        writer.add(name, f"rows_int{codes.bits}", (rows, columns), packed_rows(codes))
        return
    padding = -rows % ROWS_MULTIPLE
    if padding:
        code, scale, minimum = (
            np.pad(array, ((0, padding), (0, 0))) for array in (codes.code, codes.scale, codes.minimum)
        )
        codes = Affine(codes.bits, code, scale, minimum)
    if codes.bits == 4:
        planes = [_plane(codes.code, codes.scale, codes.minimum + 8 * codes.scale)]
    else:  # w = 16 s h + s l + m, with offsets chosen so that both planes are centred on 8
        high = _plane(codes.code >> 4, 16 * codes.scale, codes.minimum + (16 * 8 + 8) * codes.scale)
        planes = [high, _plane(codes.code & 15, codes.scale, np.zeros_like(codes.scale))]
    data = np.concatenate([part for plane in planes for part in plane])
    writer.add(name, f"torch_int{codes.bits}", (rows, columns), data)


def _plane(code: np.ndarray, scale: np.ndarray, offset: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    slices = range(0, len(code), ROWS_AT_ONCE)  # the converter wants int32: eight times the bytes it gives
    converted = [_converted(code[start : start + ROWS_AT_ONCE]) for start in slices]
    pairs = torch.from_numpy(np.stack([scale, offset], -1).swapaxes(0, 1).copy()).bfloat16()
    return np.concatenate(converted), pairs.contiguous().view(torch.uint8).numpy().reshape(-1)


def _converted(code: np.ndarray) -> np.ndarray:
    weight = torch.ops.aten._convert_weight_to_int4pack_for_cpu(torch.from_numpy(code.astype(np.int32)), 1)
    return weight.numpy().reshape(-1)


def plane_bytes(rows: int, columns: int) -> tuple[int, int]:
    """Bytes of one plane's codes and of its (scale, offset) pairs."""
    padded = rows + -rows % ROWS_MULTIPLE
    return padded * columns // 2, padded * (columns // GROUP) * 2 * 2
