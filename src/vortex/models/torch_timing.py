"""How long torch's own 4-bit product takes on this CPU: the figure that `vortex bench kernels` shows beside ours."""

from __future__ import annotations

import statistics
import time

import torch

GROUP = 32


def int4_product_ms(height: int, rows: int, columns: int, *, matrices: int = 6, runs: int = 5) -> float:
    """Median milliseconds of `_weight_int4pack_mm_for_cpu`, [height, columns] bfloat16 times random int4 weights."""
    packed = []
    for seed in range(matrices):
        generator = torch.Generator().manual_seed(seed)
        codes = torch.randint(0, 16, (rows, columns), dtype=torch.int32, generator=generator)
        scales = torch.full((columns // GROUP, rows, 2), 0.01, dtype=torch.bfloat16)
        packed.append((torch.ops.aten._convert_weight_to_int4pack_for_cpu(codes, 1), scales))
    x = torch.randn(height, columns, dtype=torch.bfloat16)
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        for weight, scales in packed:
            torch.ops.aten._weight_int4pack_mm_for_cpu(x, weight, GROUP, scales)
        times.append((time.perf_counter() - started) / matrices)
    return statistics.median(times) * 1e3
