"""The device tier on a GPU: paged equals resident bit for bit, and both are near the CPU."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from vortex.bench.memory.device_tiers import (
    SMALL,
    SMALL_WITH_EXPERTS,
    compare_tiers,
    device_source,
    logits_of,
    pack_random,
    smallest_budget,
    unit_bytes,
)
from vortex.models.decoder.model import Decoder
from vortex.models.decoder.torch_compute import TorchCompute
from vortex.models.files.decoder_config import DecoderConfig

pytestmark = pytest.mark.gpu
MANY_TILES = dataclasses.replace(SMALL, width=1024, ffn_width=4096, num_heads=8, head_width=128, num_kv_heads=2)
CONFIGS = pytest.mark.parametrize(
    "config", [SMALL, SMALL_WITH_EXPERTS, MANY_TILES], ids=["dense", "experts", "many tiles"]
)


@CONFIGS
@pytest.mark.parametrize("host_bytes", [0, 1 << 20])
def test_the_tiers_agree(config: DecoderConfig, host_bytes: int, tmp_path: Path) -> None:
    agreement = compare_tiers("cuda", config, tmp_path / "m.c3", host_bytes=host_bytes)
    assert agreement.same_bits
    assert agreement.cpu_difference < 0.02
    assert agreement.uploaded_bytes > 0


@CONFIGS
@pytest.mark.parametrize("compress", [False, True])
def test_every_budget_gives_the_same_bits_many_times(config: DecoderConfig, compress: bool, tmp_path: Path) -> None:
    folder = pack_random(config, tmp_path / "m.c3", compress=compress)
    smallest, everything = smallest_budget(folder), sum(unit_bytes(folder).values())
    resident = TorchCompute(config, device_source(folder, "cuda", 0), device="cuda")
    expected = logits_of(Decoder(config, resident))
    for budget in (smallest, (smallest + everything) // 2, everything):
        source = device_source(folder, "cuda", budget)
        for _ in range(20):
            model = Decoder(config, TorchCompute(config, source, device="cuda"))
            np.testing.assert_array_equal(logits_of(model), expected)
        assert source.counters()["resident_bytes"] <= budget
        source.close()
