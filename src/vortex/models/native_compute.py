"""The decoder's arithmetic in the native core: one call per layer for a whole batch, no torch.

Keeps the law bit by bit: what a row becomes depends on its own sequence alone, whatever the batch, the chunks a prompt
is cut into, the threads, the instruction set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from vortex.c3.folder import C3Folder
from vortex.kernels import dispatch
from vortex.kernels.formats import Format
from vortex.kernels.packed import PackedMatrix
from vortex.models.checkpoint import layer_names
from vortex.models.compute import Batch
from vortex.models.decoder_config import DecoderConfig
from vortex.models.native_cache import NativeCache
from vortex.models.native_pack import PACKED_TAG
from vortex.types import Exactness

Angles = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, slots=True)
class NativeRows:
    """x: float32 [rows, width], changed in place by every layer. angles: (cos, sin) of each kind of layer (local or not)."""

    x: np.ndarray
    sweep: Any
    angles: dict[bool, Angles]


class NativeCompute:
    """A Compute over a folder packed by native_pack."""

    exactness = Exactness.BITWISE
    prefill_chunk = 128

    def __init__(self, config: DecoderConfig, folder: C3Folder, *, threads: int = 0, int8_cache: bool = False) -> None:
        self.config, self.folder, self.int8_cache = config, folder, int8_cache
        self.native = dispatch.load(threads)
        self.workspace = self.native.Workspace()
        self.head = _matrix(folder, "head")
        self.embedding = self.head if config.tied_head else _matrix(folder, "embedding")
        self.final_norm = _vector(folder, "final_norm")
        self.weight_bytes = self.head.num_bytes
        self.layers = [self._layer(index) for index in range(config.num_layers)]
        self.frequencies = {
            config.is_local(index): np.asarray(config.inverse_frequencies(index)) for index in range(config.num_layers)
        }

    def new_cache(self) -> NativeCache:
        return NativeCache(self.config, int8=self.int8_cache)

    def embed(self, batch: Batch) -> NativeRows:
        x = self.embedding.gather(batch.token_ids, self.config.embedding_scale)
        sweep = self.native.Sweep(x, self.int8_cache)
        for segment in batch.segments:
            cache: NativeCache = segment.cache
            scales = (cache.key_scale, cache.value_scale)
            sweep.add_segment(
                cache.keys, cache.values, *scales, cache.capacity, segment.num_rows, segment.start_position
            )
        angles = {local: _angles(batch.positions, frequencies) for local, frequencies in self.frequencies.items()}
        return NativeRows(x, sweep, angles)

    def layer(self, index: int, x: NativeRows, batch: Batch) -> NativeRows:
        cos, sin = x.angles[self.config.is_local(index)]
        x.sweep.run(self.workspace, self.layers[index], index, cos, sin)
        return x

    def logits(self, x: NativeRows, rows: np.ndarray) -> np.ndarray:
        return self.head(self.hidden(x, rows))

    def hidden(self, x: NativeRows, rows: np.ndarray) -> np.ndarray:
        chosen = x.x[rows]
        self.native.rms_norm(chosen, self.final_norm, self.config.norm_epsilon, chosen)
        return chosen

    def close(self) -> None:
        self.layers.clear()

    def _layer(self, index: int) -> Any:
        config, prefix = self.config, f"layers.{index}."
        vectors, matrices = layer_names(config)
        norms = {name: _vector(self.folder, prefix + name) for name in vectors}
        biases = {name: norms.pop(f"{name}_bias") for name in "qkv"} if config.qkv_bias else {}
        packed = {name: _matrix(self.folder, prefix + name, biases.get(name)) for name in matrices}
        self.weight_bytes += sum(matrix.num_bytes for matrix in packed.values())
        shape = {
            "heads": config.num_heads,
            "kv_heads": config.num_kv_heads,
            "head_width": config.head_width,
            "window": config.window(index),
            "epsilon": config.norm_epsilon,
            "query_scale": config.query_scale,
            "gelu": config.activation == "gelu_tanh",
        }
        return self.native.Layer(shape, {name: matrix.native for name, matrix in packed.items()}, norms)


def _vector(folder: C3Folder, name: str) -> np.ndarray:
    return folder.read(name).view(np.float32)


def _matrix(folder: C3Folder, name: str, bias: np.ndarray | None = None) -> PackedMatrix:
    entry = folder.entries[name]
    kind = Format[entry.layout.removeprefix(f"{PACKED_TAG}_")]
    rows, columns = entry.shape
    return PackedMatrix(kind, folder.read(name), (rows, columns), bias=bias)


def _angles(positions: np.ndarray, frequencies: np.ndarray) -> Angles:
    """cos and sin, float32 [rows, head_width / 2], of angles taken in double precision."""
    angles = positions[:, None] * frequencies
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
