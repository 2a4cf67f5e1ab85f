"""`vortex bench kernels`: products with packed weights against what memory and multipliers allow, torch's int4 beside.

For each format and batch height: milliseconds, bytes of weights per second, operations per second. Weights rotate
through several matrices, so that no cache holds them. The memory's rate is a plain read of the same buffers, taken in
turn with the products. Checked before it is timed: products against the numpy oracle, rows against single rows.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from vortex.bench.machine import memory_read_bytes_per_s
from vortex.bench.measurement import CheckFailed
from vortex.bench.report import Report
from vortex.kernels import dispatch, reference
from vortex.kernels.formats import Format
from vortex.kernels.packed import PackedMatrix, pack

HEIGHTS = (1, 2, 4, 8, 16, 64, 256)
WORKING_SET_BYTES = 192 << 20  # larger than any last-level cache of the machines this is meant for
CHECK_SHAPE = (80, 512)
ACCEPTED_ERROR = 1e-4


@dataclass(frozen=True, slots=True)
class KernelsMeasurement:
    """rows x columns: one matrix. with_torch: also time torch's int4 product."""

    formats: Sequence[Format]
    rows: int = 4096
    columns: int = 14336
    runs: int = 5
    seed: int = 0
    with_torch: bool = False

    def check(self) -> None:
        x = np.random.default_rng(self.seed).standard_normal((9, CHECK_SHAPE[1])).astype(np.float32)
        for kind in self.formats:
            data = _random_rows(kind, *CHECK_SHAPE, self.seed)
            matrix = PackedMatrix(kind, pack(kind, data, *CHECK_SHAPE), CHECK_SHAPE)
            ours, oracle = matrix(x), reference.product(kind, data, CHECK_SHAPE, x)
            if np.abs(ours - oracle).max() > ACCEPTED_ERROR * np.abs(oracle).max():
                raise CheckFailed(f"the {kind.name} product differs from the oracle")
            if not np.array_equal(np.concatenate([matrix(row[None]) for row in x]), ours):
                raise CheckFailed(f"rows of the {kind.name} product depend on the batch")

    def measure(self) -> Report:
        rows: list[list[str]] = []
        bars: dict[str, float] = {}
        read_gb_per_s = memory_read_bytes_per_s() / 1e9
        figures: dict[str, object] = {
            "kernels": dispatch.selected(),
            "threads": dispatch.load().threads(),
            "rows": self.rows,
            "columns": self.columns,
            "memory_read_gb_per_s": round(read_gb_per_s, 1),
        }
        for kind in self.formats:
            measured = self._format(kind)
            bars[f"{kind.name}, 1 row"] = measured[1]["gb_per_s"]
            figures[kind.name] = {str(height): values for height, values in measured.items()}
            for height, values in measured.items():
                rows.append([f"{kind.name}, {height}", *(f"{value:.4g}" for value in values.values())])
        bars["a plain read"] = read_gb_per_s
        if self.with_torch:
            from vortex.models.torch_timing import int4_product_ms

            torch_ms = {height: int4_product_ms(height, self.rows, self.columns) for height in HEIGHTS}
            figures["torch_int4_ms"] = {str(height): round(ms, 3) for height, ms in torch_ms.items()}
            rows += [
                [f"torch int4, {h}", f"{ms:.4g}", "", "", "", f"{self._gops(h, ms):.4g}"] for h, ms in torch_ms.items()
            ]
        columns = ["format, rows", "ms", "of 1 row", "GB/s", "of a read", "Gop/s"]
        title = f"{self.rows} x {self.columns}, {figures['kernels']}, {figures['threads']} threads"
        return Report("kernels", title, columns, rows, figures, bars, "GB/s of weights")

    def _gops(self, height: int, ms: float) -> float:
        return 2 * height * self.rows * self.columns / ms / 1e6

    def _format(self, kind: Format) -> dict[int, dict[str, float]]:
        """By batch height: ms, ratio to one row, GB/s, share of a plain read's rate, Gop/s."""
        shape = (self.rows, self.columns)
        tiles = pack(kind, _random_rows(kind, *shape, self.seed), *shape)
        copies = [tiles, *(tiles.copy() for _ in range(WORKING_SET_BYTES // tiles.nbytes))]
        matrices = [PackedMatrix(kind, data, shape) for data in copies]
        rng = np.random.default_rng(self.seed)
        inputs = [rng.standard_normal((height, self.columns)).astype(np.float32) for height in HEIGHTS]
        times: dict[int, list[float]] = {height: [] for height in HEIGHTS}
        reads: list[float] = []
        for _ in range(self.runs):
            for height, x in zip(HEIGHTS, inputs, strict=True):
                times[height].append(_seconds(lambda m, x=x: m(x), matrices, height))
            reads.append(_seconds(_read, copies, 1))
        read = statistics.median(reads)
        medians = {height: statistics.median(values) for height, values in times.items()}
        return {
            height: {
                "ms": round(seconds * 1e3, 3),
                "relative": round(seconds / medians[1], 3),
                "gb_per_s": round(tiles.nbytes / seconds / 1e9, 2),
                "of_read": round(read / seconds, 3),
                "gops": round(self._gops(height, seconds * 1e3), 1),
            }
            for height, seconds in medians.items()
        }


def _seconds(work: Callable[..., object], over: Sequence[object], height: int) -> float:
    """Mean seconds of one call, over all of `over` (a few of them where a call is long)."""
    chosen = over if height < 16 else over[:2]
    started = time.perf_counter()
    for item in chosen:
        work(item)
    return (time.perf_counter() - started) / len(chosen)


def _read(data: np.ndarray) -> None:
    """Every byte once, on two threads: what memory gives a program that does nothing else."""
    words = data[: len(data) // 8 * 8].view(np.uint64)
    with ThreadPoolExecutor(dispatch.num_threads()) as pool:
        list(pool.map(np.bitwise_or.reduce, np.array_split(words, dispatch.num_threads())))


def _random_rows(kind: Format, rows: int, columns: int, seed: int) -> np.ndarray:
    """GGUF rows with random codes and scales of a hundredth: uint8 [rows, row bytes]."""
    rng = np.random.default_rng(seed)
    if kind.is_float:
        values = rng.standard_normal((rows, columns), dtype=np.float32)
        if kind == Format.F32:
            return values.view(np.uint8)
        half = values.astype(np.float16) if kind == Format.F16 else (values.view(np.uint32) >> 16).astype(np.uint16)
        return half.view(np.uint8)
    blocks = rng.integers(0, 256, (rows * columns // kind.column_multiple, kind.block_bytes), dtype=np.uint8)
    at = 208 if kind == Format.Q6_K else 0
    width = 4 if kind in {Format.Q4_1, Format.Q5_1, Format.Q4_K, Format.Q5_K} else 2
    blocks[:, at : at + width] = np.full(width // 2, 0.01, np.float16).view(np.uint8)
    return blocks.reshape(rows, -1)
