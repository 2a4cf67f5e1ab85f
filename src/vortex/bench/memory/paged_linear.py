"""`vortex bench paged-linear`: one stack of linears larger than its budget, streamed through the pager.

Random bfloat16 weights in a temporary `.c3` folder, stored raw and lossless; half of them fit the budget. Check: the
paged products equal the resident ones bit for bit. `accum_fp32` adds in float32, in the native core where it is there
(its float weights meet float32 activations); else torch multiplies in the weights' own type.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vortex.bench.measurement import CheckFailed
from vortex.bench.report import Report
from vortex.c3.format.codecs import BF16, BF16_E3, decode, encoded
from vortex.c3.format.folder import TILE_BYTES, C3Folder, C3Writer
from vortex.c3.format.sizes import spell_bytes
from vortex.c3.paging.options import PagerOptions
from vortex.c3.paging.pager import Pager
from vortex.c3.sources import ResidentSource, WeightSource
from vortex.kernels import dispatch
from vortex.kernels.formats import Format
from vortex.kernels.packed import PackedMatrix, pack

DTYPES = ("bf16", "fp32")
CODECS = ("raw", "lossless")
Product = Callable[[np.ndarray, np.ndarray], np.ndarray]
Prepare = Callable[[np.ndarray], np.ndarray]


def decode_rates() -> dict[str, float]:
    """Of a tile of Gaussian bfloat16, on one thread, by codec: 10^9 bytes of weights per second, best of ten."""
    weights = np.random.default_rng(0).standard_normal(TILE_BYTES // 2, np.float32)
    tile = (weights.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8)
    rates, out = {}, np.empty_like(tile)
    for codec in (BF16_E3, BF16):
        stored, best = memoryview(encoded(codec, tile)), float("inf")
        for _ in range(10):
            started = time.perf_counter()
            decode(codec, stored, out)
            best = min(best, time.perf_counter() - started)
        rates[codec] = round(len(tile) / best / 1e9, 2)
    return rates


def native_product(dtype: str) -> tuple[Product | None, Prepare | None]:
    """Of the native core, with what packs a square weight into its tiles; neither where it is not in use."""
    if not dispatch.usable():
        return None, None
    kind = Format.BF16 if dtype == "bf16" else Format.F32

    def product(x: np.ndarray, tiles: np.ndarray) -> np.ndarray:
        return PackedMatrix(kind, tiles, (x.shape[1], x.shape[1]))(x)

    return product, lambda weight: pack(kind, weight, *weight.shape)


@dataclass(frozen=True, slots=True)
class PagedLinearMeasurement:
    """product: x float32 [T, columns] and a weight's bytes to y float32 [T, rows] (handed in: torch stays outside)."""

    product: Product
    prepare: Prepare | None = None  # a weight's rows to the bytes that `product` takes
    dtype: str = "bf16"
    width: int = 2048
    num_linears: int = 24
    rows: int = 1
    runs: int = 5

    @property
    def linear_bytes(self) -> int:
        return self.width * self.width * (2 if self.dtype == "bf16" else 4)

    def check(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for compress in (False, True):
                packed = self._packed(Path(folder) / f"{compress}.c3", compress)
                resident = self._sweep(ResidentSource(packed))
                pager = self._pager(packed)
                paged = self._sweep(pager)
                pager.close()
                if not np.array_equal(resident, paged):
                    raise CheckFailed("paged and resident products differ")

    def measure(self) -> Report:
        """Raw and lossless take turns, sweep by sweep: a disk that others use slows both."""
        rows: list[list[str]] = []
        figures: dict[str, object] = {}
        with tempfile.TemporaryDirectory() as folder:
            packed = {codec: self._packed(Path(folder) / f"{codec}.c3", codec == "lossless") for codec in CODECS}
            pagers = {codec: self._pager(packed[codec]) for codec in CODECS}
            seconds: dict[str, list[float]] = {codec: [] for codec in CODECS}
            for _ in range(1 + self.runs):
                for codec, pager in pagers.items():
                    started = time.perf_counter()
                    self._sweep(pager)
                    seconds[codec].append(time.perf_counter() - started)
            for codec, pager in pagers.items():
                stored = sum(entry.stored_bytes for entry in packed[codec].entries.values())
                counters, median = pager.counters(), statistics.median(seconds[codec][1:])
                pager.close()
                ratio = stored / (self.num_linears * self.linear_bytes)
                rate = self.num_linears * self.linear_bytes / median
                names = ("page_faults", "prefetch_hits", "bytes_h2d", "bytes_compressed_read")
                rows.append([codec, f"{ratio:.3f}", f"{1e3 * median:.1f}", f"{rate / 1e9:.2f}",
                             *(f"{counters[name]:,.0f}" for name in names)])  # fmt: skip
                figures[codec] = {"stored_ratio": ratio, "sweep_ms": 1e3 * median, "weights_gb_per_s": rate / 1e9,
                                  **{name: counters[name] for name in names}}  # fmt: skip
        figures["decoded_gb_per_s_per_thread"] = decode_rates()
        total = spell_bytes(self.num_linears * self.linear_bytes)
        return Report(
            name="paged-linear",
            title=f"{self.num_linears} {self.dtype} linears of {self.width} x {self.width} ({total}), half resident",
            columns=["codec", "stored", "sweep ms", "GB/s", "page_faults", "prefetch_hits", "bytes_h2d",
                     "bytes_compressed_read"],
            rows=rows,
            figures=figures,
        )  # fmt: skip

    def _packed(self, path: Path, compress: bool) -> C3Folder:
        rng = np.random.default_rng(0)
        with C3Writer(path, {}, compress=compress) as writer:
            for index in range(self.num_linears):
                weight = (rng.standard_normal((self.width, self.width)) * 0.02).astype(np.float32)
                data = (weight.view(np.uint32) >> 16).astype(np.uint16) if self.dtype == "bf16" else weight
                packed = self.prepare(data) if self.prepare else data
                writer.add(f"linear.{index}.0", self.dtype, weight.shape, packed)
        return C3Folder(path)

    def _pager(self, packed: C3Folder) -> Pager:
        budget = max(self.num_linears // 2, 3) * self.linear_bytes
        return Pager(packed, PagerOptions(budget_bytes=budget, prefetch_depth=2))

    def _sweep(self, source: WeightSource) -> np.ndarray:
        """float32 [T, width] after all linears, each scaled back to length."""
        x = np.ones((self.rows, self.width), np.float32)
        for index in range(self.num_linears):
            with source.lease(f"linear.{index}") as lease:
                x = self.product(x, lease.views[f"linear.{index}.0"])
            x /= np.sqrt(np.mean(np.square(x)))
        return x
