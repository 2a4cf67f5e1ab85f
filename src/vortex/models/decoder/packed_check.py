"""Whether a packed folder holds what its configuration asks for, before anything is computed with it.

Looks at names, shapes, layouts and sizes of the index, not at bytes. What fails was tampered with or is of another
version of the program: it is deleted and packed anew.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

from vortex.c3.format.folder import TensorEntry
from vortex.errors import ModelFileError
from vortex.kernels.formats import Format
from vortex.kernels.packed import tile_bytes
from vortex.models.decoder.native_pack import LAYER_MATRICES, NUM_ATTENTION, PACKED_TAG
from vortex.models.files.checkpoint import EXPERT_BIASES, FEED_FORWARD, expected_shape, layer_names
from vortex.models.files.decoder_config import DecoderConfig

VECTOR, MATRIX, ROWS = "f32", PACKED_TAG, "ggml"


def check_packed(config: DecoderConfig, entries: Mapping[str, TensorEntry], path: Path) -> None:
    """Raises ModelFileError for the first tensor that is missing or does not fit."""
    if max(config.num_layers, config.num_experts) > len(entries):
        raise _unfit(path, f"{config.num_layers} layers and {config.num_experts} experts in {len(entries)} tensors")
    for stored, name, kind in _expected(config):
        entry, shape = entries.get(stored), expected_shape(config, name)
        wanted = shape[1:] if kind == VECTOR and shape[0] == 1 else shape
        if entry is None:
            raise _unfit(path, f"{stored} is missing")
        if entry.shape != wanted or entry.num_bytes != _num_bytes(entry.layout, kind, shape):
            raise _unfit(path, f"{stored} is {entry.layout} {entry.shape} in {entry.num_bytes} bytes")


def _unfit(path: Path, what: str) -> ModelFileError:
    return ModelFileError(f"{path} does not fit its own configuration ({what}); delete it to have it packed anew")


def _expected(config: DecoderConfig) -> Iterator[tuple[str, str, str]]:
    """(name in the index, house name, kind) of every tensor."""
    yield "embedding", "embedding", ROWS
    yield "head.0", "head", MATRIX
    yield "final_norm", "final_norm", VECTOR
    vectors, _ = layer_names(config)
    matrices = LAYER_MATRICES[:NUM_ATTENTION] if config.num_experts else LAYER_MATRICES
    for layer in range(config.num_layers):
        prefix = f"layers.{layer}."
        for name in vectors:
            yield prefix + name, name, VECTOR
        for number, name in enumerate(matrices):
            yield f"{prefix}matrices.{number}", name, MATRIX
        if config.num_experts:
            yield prefix + "router", "router", VECTOR
        for expert in range(config.num_experts):
            for name in FEED_FORWARD:
                yield f"{prefix}experts.{expert}.{name}.0", name, MATRIX
            for name in EXPERT_BIASES if config.expert_biases else ():
                yield f"{prefix}experts.{expert}.{name}.0", name, VECTOR


def _num_bytes(layout: str, kind: str, shape: tuple[int, int]) -> int:
    """-1 for a layout that is none of this kind."""
    tag, _, name = layout.partition("_")
    if kind == VECTOR:
        return 4 * math.prod(shape) if layout == VECTOR else -1
    if tag not in {MATRIX, ROWS} or name not in Format.__members__:
        return -1
    if tag == MATRIX:
        known = Format[name]
        return -1 if shape[1] % known.column_multiple else tile_bytes(known, *shape)
    width, num_bytes = GGML_QUANT_SIZES[GGMLQuantizationType[name]]
    return -1 if shape[1] % width else shape[0] * (shape[1] // width) * num_bytes
