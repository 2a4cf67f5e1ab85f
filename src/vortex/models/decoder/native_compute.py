"""The decoder's arithmetic in the native core: one call per layer for a whole batch, no torch.

Keeps the law bit by bit: what a row becomes depends on its own sequence alone, whatever the batch, the chunks a prompt
is cut into, the threads, the instruction set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from vortex.c3.format.folder import TensorEntry
from vortex.c3.sources import Lease, WeightSource, units_of
from vortex.errors import UnsupportedModel
from vortex.kernels import dispatch
from vortex.kernels.formats import Format, Gate
from vortex.kernels.packed import PackedMatrix, pack
from vortex.models.decoder.compute import Batch
from vortex.models.decoder.expert_router import route_batch
from vortex.models.decoder.native_adapter import NativeAdapters
from vortex.models.decoder.native_cache import NativeCache
from vortex.models.decoder.native_pack import LAYER_MATRICES, PACKED_TAG
from vortex.models.files.checkpoint import FEED_FORWARD, layer_names
from vortex.models.files.decoder_config import DecoderConfig
from vortex.types import Exactness

HEAD_MULTIPLE, LARGEST_HEAD = 16, 512  # src/native/kernels.h
Angles = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, slots=True)
class NativeRows:
    """x: float32 [rows, width], changed in place by every layer. angles: (cos, sin) by whether a layer is local."""

    x: np.ndarray
    sweep: Any
    angles: dict[bool, Angles]


class NativeCompute:
    """A Compute over a folder packed by native_pack."""

    exactness = Exactness.BITWISE
    prefill_chunk = 128
    row_share = 0.25  # SmolLM2-135M, two cores: 4 rows cost 1.77, 8 rows 2.9, 32 rows 8.9 times one, aftermath included

    def __init__(
        self, config: DecoderConfig, source: WeightSource, *, threads: int = 0, int8_cache: bool = False
    ) -> None:
        if config.head_width % HEAD_MULTIPLE or config.head_width > LARGEST_HEAD:
            raise UnsupportedModel(
                f"heads {config.head_width} wide: the native core takes multiples of {HEAD_MULTIPLE} up to "
                f"{LARGEST_HEAD}; set VORTEX_KERNELS=reference"
            )
        self.config, self.source, self.int8_cache = config, source, int8_cache
        self.native = dispatch.load(threads)
        self.workspace, self.expert_workspace = self.native.Workspace(), self.native.ExpertWorkspace()
        self.adapters = NativeAdapters(config, self.native)
        self.gate = int(Gate[config.activation])
        vectors, _ = layer_names(config)
        self.norms = [
            {name: self._vector(f"layers.{index}.{name}") for name in vectors} for index in range(config.num_layers)
        ]
        layers_with_experts = range(config.num_layers if config.num_experts else 0)
        self.routers = [self._router(f"layers.{index}.router") for index in layers_with_experts]
        self.final_norm = self._vector("final_norm")
        self.embedding = _matrix(source.entries["embedding"], source.read("embedding"))
        units = units_of(source.entries)
        self.weight_bytes = sum(entry.num_bytes for parts in units.values() for entry in parts)
        self.resident: dict[str, Any] = {}  # layers and the head, made once where their bytes stay
        self.frequencies = {
            config.is_local(index): np.asarray(config.inverse_frequencies(index)) for index in range(config.num_layers)
        }

    @property
    def bytes_to_fetch(self) -> int:
        return self.source.bytes_to_fetch

    def counters(self) -> Mapping[str, float]:
        return self.source.counters()

    def new_cache(self) -> NativeCache:
        return NativeCache(self.config, int8=self.int8_cache)

    def embed(self, batch: Batch) -> NativeRows:
        x = self.embedding.gather(batch.token_ids, self.config.embedding_scale)
        sweep = self.native.Sweep(x, self.int8_cache)
        for segment in batch.segments:
            cache: NativeCache = segment.cache
            scales = (cache.key_scale, cache.value_scale)
            place = (cache.capacity, segment.num_rows, segment.start_position)
            sweep.add_segment(cache.keys, cache.values, *scales, *place, self.adapters.of(segment.adapter))
        angles = {local: _angles(batch.positions, frequencies) for local, frequencies in self.frequencies.items()}
        return NativeRows(x, sweep, angles)

    def layer(self, index: int, x: NativeRows, batch: Batch) -> NativeRows:
        cos, sin = x.angles[self.config.is_local(index)]
        with self._leased(f"layers.{index}.matrices", lambda parts: self._layer(index, parts)) as layer:
            x.sweep.run(self.workspace, layer, index, cos, sin)
        if self.config.num_experts:
            self._add_experts(index, x.x)
        return x

    def logits(self, x: NativeRows, rows: np.ndarray) -> np.ndarray:
        with self._leased("head", lambda parts: parts[0]) as head:
            return cast("PackedMatrix", head)(self.hidden(x, rows))

    def hidden(self, x: NativeRows, rows: np.ndarray) -> np.ndarray:
        chosen = x.x[rows]
        self.native.rms_norm(chosen, self.final_norm, self.config.norm_epsilon, chosen)
        return chosen

    def close(self) -> None:
        self.resident.clear()
        self.source.close()

    @contextmanager
    def _leased(self, unit: str, make: Callable[[list[PackedMatrix]], Any]) -> Iterator[Any]:
        """What `make` builds over the unit's matrices; kept when the lease lasts."""
        if unit in self.resident:
            yield self.resident[unit]
            return
        with self.source.lease(unit) as lease:
            made = make([_matrix(self.source.entries[name], data) for name, data in lease.views.items()])
            if lease.lasts and not self.bytes_to_fetch:
                self.resident[unit] = made
            yield made

    def _layer(self, index: int, matrices: list[PackedMatrix]) -> Any:
        config, norms = self.config, dict(self.norms[index])
        named = dict(zip(LAYER_MATRICES, matrices, strict=not config.num_experts))
        biases = {name: norms[f"{name}_bias"] for name in LAYER_MATRICES if f"{name}_bias" in norms}
        shape = {
            "heads": config.num_heads,
            "kv_heads": config.num_kv_heads,
            "head_width": config.head_width,
            "window": config.window(index),
            "epsilon": config.norm_epsilon,
            "query_scale": config.query_scale,
            "gate": self.gate,
            "swiglu_limit": config.swiglu_limit,
        }
        return self.native.Layer(shape, {name: matrix.native for name, matrix in named.items()}, norms, biases)

    def _add_experts(self, index: int, x_BD: np.ndarray) -> None:
        """Experts in ascending order, so that a row's bits are its own affair. Those that stay go in one call."""
        config, vectors = self.config, self.norms[index]
        normed_BD, out_BD = np.empty_like(x_BD), np.zeros_like(x_BD)
        self.native.rms_norm(x_BD, vectors["ffn_norm"], config.norm_epsilon, normed_BD)
        scores_BE = self.routers[index](normed_BD) + vectors.get("router_bias", np.float32(0))
        routed = route_batch(scores_BE, config.experts_per_token, config.normalise_experts)
        waiting: list[tuple[Any, np.ndarray, np.ndarray]] = []
        for expert, lease in self.source.experts(index, routed.experts_BK.tolist()):
            waiting.append((self._expert(f"layers.{index}.experts.{expert}", lease), *routed.of(expert)))
            if not lease.lasts:
                self._feed(waiting, normed_BD, out_BD)
                waiting = []
        self._feed(waiting, normed_BD, out_BD)
        x_BD += out_BD

    def _feed(self, experts: list[tuple[Any, np.ndarray, np.ndarray]], x_BD: np.ndarray, out_BD: np.ndarray) -> None:
        """Adds to `out` what each (expert, its rows, its shares) gives; one call or several, the same bits."""
        if experts:
            natives, rows, shares = (list(part) for part in zip(*experts, strict=True))
            self.expert_workspace.run(natives, rows, shares, x_BD, out_BD)

    def _expert(self, unit: str, lease: Lease) -> Any:
        if unit in self.resident:
            return self.resident[unit]
        views, entries = lease.views, self.source.entries
        names = {name: f"{unit}.{name}.0" for name in FEED_FORWARD}
        biases = {name: f"{unit}.{name}_bias.0" for name in FEED_FORWARD if self.config.expert_biases}
        made = self.native.Expert(
            {name: _matrix(entries[full], views[full]).native for name, full in names.items()},
            {name: views[full].view(np.float32) for name, full in biases.items()},
            self.gate,
            self.config.swiglu_limit,
        )
        if lease.lasts:
            self.resident[unit] = made
        return made

    def _router(self, name: str) -> PackedMatrix:
        shape = (self.config.num_experts, self.config.width)
        return PackedMatrix(Format.F32, pack(Format.F32, self.source.read(name), *shape), shape)

    def _vector(self, name: str) -> np.ndarray:
        return self.source.read(name).view(np.float32)


def _matrix(entry: TensorEntry, data: np.ndarray) -> PackedMatrix:
    layout, _, kind = entry.layout.partition("_")
    rows, columns = entry.shape
    return PackedMatrix(Format[kind], data, (rows, columns), packed=layout == PACKED_TAG)


def _angles(positions: np.ndarray, frequencies: np.ndarray) -> Angles:
    """cos and sin, float32 [rows, head_width / 2], of angles taken in double precision."""
    angles = positions[:, None] * frequencies
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
