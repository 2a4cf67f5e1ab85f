"""`vortex bench kernels --attention`: decoding over a long context against what memory allows.

One call of a fused layer without a feed-forward, whose matrices are tiny: the time is attention's, the rest (a rotary
embedding, the write of one key) a few microseconds. Keys and values rotate through several layers' caches, so that no
cache of the CPU holds them. The bound is a plain read of the same bytes, taken in turn. Checked before it is timed:
the layer's output against numpy attention over the same cache.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vortex.bench.measurement import CheckFailed
from vortex.bench.report import Report
from vortex.kernels import dispatch
from vortex.kernels.formats import Format, Gate
from vortex.kernels.native import NativeCore
from vortex.kernels.packed import PackedMatrix, pack

WORKING_SET_BYTES = 192 << 20
WIDTH = 32  # of the model around the heads
CHECKED_TOKENS = 300
ACCEPTED_ERROR = 2e-3  # keys, values and sums in another order; int8 caches are decoded before they are compared


@dataclass(frozen=True, slots=True)
class Shape:
    name: str
    heads: int
    kv_heads: int
    head_width: int


SHAPES = (Shape("8B", 32, 8, 128), Shape("SmolLM2-135M", 9, 3, 64), Shape("gpt-oss", 64, 8, 64))


class LayerCaches:
    """Random keys and values of `layers` layers, as native_cache lays them out, and a layer over each of them."""

    def __init__(self, core: NativeCore, shape: Shape, layers: int, tokens: int, *, int8: bool, seed: int = 0) -> None:
        self.core, self.shape, self.int8, self.tokens = core, shape, int8, tokens
        self.capacity = tokens + -tokens % 256
        rng = np.random.default_rng(seed)
        count = layers * shape.kv_heads * self.capacity * shape.head_width
        self.keys, self.values = (self._random(rng, count) for _ in range(2))
        scales = layers * shape.kv_heads * self.capacity
        self.scales = [np.full(scales, 0.02, np.float32) if int8 else None for _ in range(2)]
        query_width, kv_width = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
        sizes = {"q": (query_width, WIDTH), "k": (kv_width, WIDTH), "v": (kv_width, WIDTH)}
        self.weights = {
            name: rng.standard_normal(size).astype(np.float32) / 8
            for name, size in {**sizes, "attention_out": (WIDTH, query_width)}.items()
        }
        matrices = {name: _matrix(weight) for name, weight in self.weights.items()}
        numbers = {
            "heads": shape.heads, "kv_heads": shape.kv_heads, "head_width": shape.head_width, "window": 0,
            "epsilon": 1e-6, "query_scale": shape.head_width**-0.5, "gate": int(Gate.silu), "swiglu_limit": 0.0,
        }  # fmt: skip
        norms = {name: np.ones(WIDTH, np.float32) for name in ("attention_norm", "ffn_norm")}
        self.layer = core.Layer(numbers, {name: each.native for name, each in matrices.items()}, norms, {})
        self.workspace = core.Workspace()

    def attend(self, rows: int, layer: int, x: np.ndarray) -> None:
        """The last `rows` positions of the context, x [rows, WIDTH] in place, angles of zero."""
        half = self.shape.head_width // 2
        sweep = self.core.Sweep(x, self.int8)
        key_scale, value_scale = self.scales
        start = self.tokens - rows
        sweep.add_segment(self.keys, self.values, key_scale, value_scale, self.capacity, rows, start)
        sweep.run(
            self.workspace, self.layer, layer, np.ones((rows, half), np.float32), np.zeros((rows, half), np.float32)
        )

    @property
    def layer_bytes(self) -> int:
        """Of keys and values that one layer's attention reads."""
        per_position = self.shape.head_width * (1 if self.int8 else 2) + (4 if self.int8 else 0)
        return 2 * self.shape.kv_heads * self.tokens * per_position

    def dense(self, layer: int) -> tuple[np.ndarray, np.ndarray]:
        """keys, values: float32 [tokens, kv_heads, head_width]."""
        shape, kind = self.shape, np.int8 if self.int8 else np.float16
        found = []
        for data, scales in zip((self.keys, self.values), self.scales, strict=True):
            each = (
                data.view(kind).reshape(-1, shape.kv_heads, self.capacity * shape.head_width)[layer].astype(np.float32)
            )
            if data is self.keys:  # [head][position / 16][dimension][16]
                each = each.reshape(shape.kv_heads, -1, shape.head_width, 16).swapaxes(2, 3)
            each = each.reshape(shape.kv_heads, self.capacity, shape.head_width)
            if scales is not None:
                each = each * scales.reshape(-1, shape.kv_heads, self.capacity, 1)[layer]
            found.append(each[:, : self.tokens].swapaxes(0, 1))
        return found[0], found[1]

    def _random(self, rng: np.random.Generator, count: int) -> np.ndarray:
        if self.int8:
            return rng.integers(-100, 100, count, dtype=np.int8).view(np.uint8)
        return rng.standard_normal(count, dtype=np.float32).astype(np.float16).view(np.uint8)


@dataclass(frozen=True, slots=True)
class AttentionMeasurement:
    context_tokens: int = 8192
    runs: int = 5
    heights: Sequence[int] = (1, 4, 8)
    seed: int = 0

    def check(self) -> None:
        core = dispatch.load()
        for shape in SHAPES:
            for int8 in (False, True):
                caches = LayerCaches(core, shape, 2, CHECKED_TOKENS, int8=int8, seed=self.seed)
                x = np.random.default_rng(self.seed).standard_normal((1, WIDTH)).astype(np.float32)
                before = x.copy()
                caches.attend(1, 1, x)
                oracle = before + _attended(caches, before)
                if np.abs(x - oracle).max() > ACCEPTED_ERROR * np.abs(oracle).max():
                    raise CheckFailed(
                        f"attention of {shape.name}{' over int8' if int8 else ''} differs from the oracle"
                    )

    def measure(self) -> Report:
        core = dispatch.load()
        figures: dict[str, Any] = {
            "kernels": dispatch.selected(), "threads": core.threads(), "context_tokens": self.context_tokens
        }  # fmt: skip
        rows = []
        for shape in SHAPES:
            for int8 in (False, True):
                name = f"{shape.name}, {'int8' if int8 else 'fp16'}"
                figures[name] = found = self._time(core, shape, int8=int8)
                for height in self.heights:
                    values = found[str(height)]
                    rows.append([f"{name}, {height}", *(f"{value:.4g}" for value in values.values())])
        columns = ["shape, cache, rows", "ms", "GB/s", "of a read"]
        title = (
            f"attention over {self.context_tokens} tokens, one layer, {figures['kernels']}, {core.threads()} threads"
        )
        return Report("attention", title, columns, rows, figures)

    def _time(self, core: NativeCore, shape: Shape, *, int8: bool) -> dict[str, dict[str, float]]:
        """By rows: ms of a layer, GB/s of keys and values, share of a plain read's rate."""
        one = LayerCaches(core, shape, 1, self.context_tokens, int8=int8).layer_bytes
        layers = 1 + WORKING_SET_BYTES // one
        caches = LayerCaches(core, shape, layers, self.context_tokens, int8=int8, seed=self.seed)
        inputs = {height: np.ones((height, WIDTH), np.float32) for height in self.heights}
        reading: list[float] = []
        seconds: dict[int, list[float]] = {height: [] for height in self.heights}
        for _ in range(self.runs):
            started = time.perf_counter()
            core.read_all(caches.keys)
            core.read_all(caches.values)
            reading.append((time.perf_counter() - started) / (caches.keys.nbytes + caches.values.nbytes))
            for height, x in inputs.items():
                started = time.perf_counter()
                for layer in range(layers):
                    caches.attend(height, layer, x)
                seconds[height].append((time.perf_counter() - started) / layers)
        read_rate = 1 / statistics.median(reading)
        found = {}
        for height in self.heights:
            median = statistics.median(seconds[height])
            rate = caches.layer_bytes / median
            found[str(height)] = {
                "ms": round(median * 1e3, 4), "gb_per_s": round(rate / 1e9, 2), "of_read": round(rate / read_rate, 3)
            }  # fmt: skip
        return found


def _matrix(weight: np.ndarray) -> PackedMatrix:
    shape = (weight.shape[0], weight.shape[1])
    return PackedMatrix(Format.F32, pack(Format.F32, weight.view(np.uint8), *shape), shape)


def _attended(caches: LayerCaches, x: np.ndarray) -> np.ndarray:
    """What attention adds to x [1, WIDTH], in numpy; the cache already has the position's own key and value."""
    from vortex.models.decoder.reference_compute import attend, rms_norm

    shape = caches.shape
    normed = rms_norm(x, np.ones(WIDTH, np.float32), 1e-6)[0]
    query = (caches.weights["q"] @ normed).reshape(shape.heads, shape.head_width)
    keys, values = caches.dense(1)
    out = attend(query, keys, values, shape.head_width**-0.5)
    return caches.weights["attention_out"] @ out.reshape(-1)
