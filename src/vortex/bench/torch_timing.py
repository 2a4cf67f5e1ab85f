"""torch's own 4-bit product on this CPU, to be timed beside ours by `vortex bench kernels`."""

from __future__ import annotations

from collections.abc import Callable

import torch

GROUP = 32


def int4_product(height: int, rows: int, columns: int, *, matrices: int = 6) -> Callable[[], object]:
    """A call multiplies [height, columns] bfloat16 by each of `matrices` random int4 matrices."""
    packed = []
    for seed in range(matrices):
        generator = torch.Generator().manual_seed(seed)
        codes = torch.randint(0, 16, (rows, columns), dtype=torch.int32, generator=generator)
        scales = torch.full((columns // GROUP, rows, 2), 0.01, dtype=torch.bfloat16)
        packed.append((torch.ops.aten._convert_weight_to_int4pack_for_cpu(codes, 1), scales))
    x = torch.randn(height, columns, dtype=torch.bfloat16)

    def multiply() -> None:
        for weight, scales in packed:
            torch.ops.aten._weight_int4pack_mm_for_cpu(x, weight, GROUP, scales)

    return multiply
