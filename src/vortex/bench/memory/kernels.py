"""`vortex bench kernels`: products with packed weights against what memory and multipliers allow, torch's int4 beside.

For each format and batch height: milliseconds, bytes of weights per second, operations per second. Weights rotate
through several matrices, so that no cache holds them. The memory's rate is a plain read of the same buffers, the
multipliers' rate is dots of registers; both, and torch's int4 product of the same shape, are taken in turn with the
products, and medians count. Checked before it is timed: products against the numpy oracle, rows against single rows.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from vortex.bench.measurement import CheckFailed
from vortex.bench.report import Curves, Report
from vortex.kernels import dispatch, reference
from vortex.kernels.formats import Format
from vortex.kernels.native import NativeCore
from vortex.kernels.packed import PackedMatrix, pack

HEIGHTS = (1, 2, 4, 8, 16, 64, 256)
WORKING_SET_BYTES = 192 << 20  # larger than any last-level cache of the machines this is meant for
CHECK_SHAPE = (80, 512)
ACCEPTED_ERROR = 1e-4
REGISTER_ROUNDS = 1 << 17


@dataclass(slots=True)
class Times:
    """One format's runs. seconds: of one product, by batch height. torch_seconds: the same of torch's int4."""

    tiles_bytes: int
    seconds: dict[int, list[float]] = field(default_factory=lambda: {height: [] for height in HEIGHTS})
    torch_seconds: dict[int, list[float]] = field(default_factory=lambda: {height: [] for height in HEIGHTS})
    read_bytes_per_s: list[float] = field(default_factory=list)
    multiply_per_s: list[float] = field(default_factory=list)

    @property
    def read_rate(self) -> float:
        return statistics.median(self.read_bytes_per_s)


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
        core = dispatch.load()
        times = {
            kind: self._time(core, kind, with_torch=self.with_torch and kind == self.formats[0])
            for kind in self.formats
        }
        found = {kind.name: self._values(one) for kind, one in times.items()}
        torch_ms = {h: 1e3 * statistics.median(s) for h, s in times[self.formats[0]].torch_seconds.items() if s}
        read = statistics.median(one.read_rate for one in times.values())
        multiply = statistics.median(rate for one in times.values() for rate in one.multiply_per_s)
        rows = [
            [f"{name}, {height}", *(f"{value:.4g}" for value in row.values())]
            for name, values in found.items()
            for height, row in values.items()
        ]
        rows += [
            [f"torch int4, {h}", f"{ms:.4g}", "", "", "", f"{self._gops(h, ms):.4g}"] for h, ms in torch_ms.items()
        ]
        figures: dict[str, object] = {
            "kernels": dispatch.selected(),
            "threads": core.threads(),
            "rows": self.rows,
            "columns": self.columns,
            "memory_read_gb_per_s": round(read / 1e9, 1),
            "multiply_gops": round(multiply / 1e9, 1),
            **{name: {str(height): row for height, row in values.items()} for name, values in found.items()},
            "torch_int4_ms": {str(height): round(ms, 3) for height, ms in torch_ms.items()},
        }
        lines = {name: [(h, row["gops"]) for h, row in values.items()] for name, values in found.items()}
        if torch_ms:
            lines["torch int4"] = [(h, self._gops(h, ms)) for h, ms in torch_ms.items()]
        limits = {
            f"memory, {kind.name}": [(h, self._gops(h, 1e3 * one.tiles_bytes / one.read_rate)) for h in HEIGHTS]
            for kind, one in list(times.items())[:1]
        } | {"multiply units": [(h, multiply / 1e9) for h in HEIGHTS]}
        title = (
            f"{self.rows} x {self.columns}, {figures['kernels']}, {core.threads()} threads; a plain read "
            f"{read / 1e9:.1f} GB/s, dots of registers {multiply / 1e9:.0f} Gop/s"
        )
        columns = ["format, rows", "ms", "of 1 row", "GB/s", "of a read", "Gop/s"]
        return Report(
            "kernels", title, columns, rows, figures, curves=Curves("rows of activations", "Gop/s", lines, limits)
        )

    def _gops(self, height: int, ms: float) -> float:
        return 2 * height * self.rows * self.columns / ms / 1e6

    def _values(self, times: Times) -> dict[int, dict[str, float]]:
        """By batch height: ms, ratio to one row, GB/s, share of a plain read's rate, Gop/s."""
        medians = {height: statistics.median(seconds) for height, seconds in times.seconds.items()}
        return {
            height: {
                "ms": round(seconds * 1e3, 3),
                "relative": round(seconds / medians[1], 3),
                "gb_per_s": round(times.tiles_bytes / seconds / 1e9, 2),
                "of_read": round(times.tiles_bytes / seconds / times.read_rate, 3),
                "gops": round(self._gops(height, seconds * 1e3), 1),
            }
            for height, seconds in medians.items()
        }

    def _time(self, core: NativeCore, kind: Format, *, with_torch: bool) -> Times:
        shape = (self.rows, self.columns)
        tiles = pack(kind, _random_rows(kind, *shape, self.seed), *shape)
        copies = [tiles, *(tiles.copy() for _ in range(WORKING_SET_BYTES // tiles.nbytes))]
        matrices = [PackedMatrix(kind, data, shape) for data in copies]
        rng = np.random.default_rng(self.seed)
        inputs = {height: rng.standard_normal((height, self.columns)).astype(np.float32) for height in HEIGHTS}
        torch_products = self._torch_products() if with_torch else {}
        times = Times(tiles.nbytes)
        for _ in range(self.runs):
            reading = _seconds(lambda data: core.read_all(data.reshape(-1).view(np.uint8)), copies)
            times.read_bytes_per_s.append(tiles.nbytes / reading)
            started = time.perf_counter()
            multiplied = core.multiply_registers(REGISTER_ROUNDS)
            times.multiply_per_s.append(multiplied / (time.perf_counter() - started))
            for height, x in inputs.items():
                chosen = matrices if height < 16 else matrices[:2]
                times.seconds[height].append(_seconds(lambda matrix, x=x: matrix(x), chosen))
            for height, (multiply, count) in torch_products.items():
                times.torch_seconds[height].append(_seconds(lambda f: f(), [multiply]) / count)
        return times

    def _torch_products(self) -> dict[int, tuple[Callable[[], object], int]]:
        """By height: a call, and how many matrices it multiplies by."""
        from vortex.bench.torch_timing import int4_product

        counts = {height: 4 if height < 16 else 1 for height in HEIGHTS}
        return {h: (int4_product(h, self.rows, self.columns, matrices=n), n) for h, n in counts.items()}


def _seconds(work: Callable[..., object], over: Iterable[object]) -> float:
    """Mean seconds of one call, over all of `over`."""
    chosen = list(over)
    started = time.perf_counter()
    for item in chosen:
        work(item)
    return (time.perf_counter() - started) / len(chosen)


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
    if kind == Format.MXFP4:
        blocks[:, 0] = 121
        return blocks.reshape(rows, -1)
    at = 208 if kind == Format.Q6_K else 0
    width = 4 if kind in {Format.Q4_1, Format.Q5_1, Format.Q4_K, Format.Q5_K} else 2
    blocks[:, at : at + width] = np.full(width // 2, 0.01, np.float16).view(np.uint8)
    return blocks.reshape(rows, -1)
