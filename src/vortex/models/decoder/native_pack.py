"""Packing a checkpoint for the native core: every matrix in tiles of 16 rows, in the format its file has.

Layouts in the `.c3` folder:
  tiles16_<FORMAT>  a matrix as vortex.kernels packs it (docs/kernels.md); the same on every instruction set
  ggml_<FORMAT>    rows as GGUF has them (the embedding, of which a sweep reads a few rows)
  f32              vectors
A layer is one unit, `layers.3.matrices`, in the order of LAYER_MATRICES; with experts, its attention is one and each
expert is one (`layers.3.experts.7`: gate, up, down, and their biases). The head is `head`. Floats become Q8_0 (or what
`form` asks for), formats that the core does not know as well; a width that has no whole blocks stays BF16.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from gguf.constants import GGMLQuantizationType
from gguf.quants import dequantize, quantize

from vortex.c3.format.folder import C3Writer
from vortex.errors import UnsupportedModel
from vortex.kernels.formats import Format
from vortex.kernels.packed import pack as pack_tiles
from vortex.models.files.checkpoint import EXPERT_BIASES, FEED_FORWARD, Checkpoint, layer_names
from vortex.models.files.formats import dense
from vortex.models.files.kindred import as_kindred
from vortex.models.files.raw_tensor import RawTensor

PACKED_TAG = "tiles16"
LAYER_MATRICES = ("q", "k", "v", "attention_out", "gate", "up", "down")
NUM_ATTENTION = 4  # of LAYER_MATRICES
FORM_OF_FLOATS = {
    "auto": Format.Q8_0,
    "int8": Format.Q8_0,
    "int4": Format.Q4_1,
    "mxfp4": Format.MXFP4,
    "bf16": Format.BF16,
}
ROWS_AT_A_TIME = 4096
Progress = Callable[[int, int], None]


def pack(checkpoint: Checkpoint, writer: C3Writer, form: str = "auto", progress: Progress | None = None) -> None:
    """Every tensor of the model into `writer`, in a sweep's order. `form` says what floats become; bf16 unpacks all."""
    config = checkpoint.config
    tensor = checkpoint.tensor("embedding")
    kind, data = in_known_format(tensor, "embedding", form)
    writer.add("embedding", f"ggml_{kind.name}", (tensor.rows, tensor.columns), data)
    vectors, _ = layer_names(config)
    for index in range(config.num_layers):
        for name in vectors:
            _add_vector(checkpoint, writer, f"layers.{index}.{name}")
        matrices = LAYER_MATRICES[:NUM_ATTENTION] if config.num_experts else LAYER_MATRICES
        for number, name in enumerate(matrices):
            _add_matrix(checkpoint, writer, f"layers.{index}.{name}", f"layers.{index}.matrices.{number}", form)
        if config.num_experts:
            _add_experts(checkpoint, writer, f"layers.{index}.", form)
        if progress:
            progress(index + 1, config.num_layers + 1)
    _add_vector(checkpoint, writer, "final_norm")
    _add_matrix(checkpoint, writer, "head", "head.0", form)
    if progress:
        progress(config.num_layers + 1, config.num_layers + 1)


def _add_vector(checkpoint: Checkpoint, writer: C3Writer, name: str, stored_as: str = "") -> None:
    values = dense(checkpoint.tensor(name))[0]
    writer.add(stored_as or name, "f32", values.shape, values)


def _add_experts(checkpoint: Checkpoint, writer: C3Writer, prefix: str, form: str) -> None:
    """The router in float32, then expert by expert."""
    router = dense(checkpoint.tensor(prefix + "router"))
    writer.add(prefix + "router", "f32", router.shape, router)
    for expert in range(checkpoint.config.num_experts):
        for name in FEED_FORWARD:
            full = f"{prefix}experts.{expert}.{name}"
            _add_matrix(checkpoint, writer, full, f"{full}.0", form)
        for name in EXPERT_BIASES if checkpoint.config.expert_biases else ():
            full = f"{prefix}experts.{expert}.{name}"
            _add_vector(checkpoint, writer, full, f"{full}.0")


def _add_matrix(checkpoint: Checkpoint, writer: C3Writer, name: str, stored_as: str, form: str) -> None:
    tensor = checkpoint.tensor(name)
    kind, data = in_known_format(tensor, name, form)
    shape = (tensor.rows, tensor.columns)
    writer.add(stored_as, f"{PACKED_TAG}_{kind.name}", shape, pack_tiles(kind, data, *shape))


def in_known_format(tensor: RawTensor, name: str, form: str) -> tuple[Format, np.ndarray]:
    """The tensor's rows, uint8 [rows, row bytes], in a format that the core knows."""
    tensor = as_kindred(tensor) if form != "bf16" else tensor
    known = Format.__members__.get(tensor.type.name)
    if known is not None and not known.is_float and form != "bf16":
        return known, tensor.data
    wanted = FORM_OF_FLOATS[form]
    if tensor.columns % wanted.column_multiple:
        wanted = Format.BF16
    if known == wanted:
        return known, tensor.data
    target = GGMLQuantizationType[wanted.name]
    pieces = []
    for start in range(0, tensor.rows, ROWS_AT_A_TIME):
        try:
            values = dequantize(tensor.data[start : start + ROWS_AT_A_TIME], tensor.type)
        except NotImplementedError as error:
            raise UnsupportedModel(f"tensor {name} is in format {tensor.type.name}, which cannot be read") from error
        pieces.append(quantize(values.astype(np.float32, copy=False), target).view(np.uint8))
    return wanted, np.concatenate(pieces)
