"""`vortex bench attach` on a tiny model: both sides run in memory limits and give the same bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.models.tiny_transformers import write_folder
from vortex.bench.measurement import CheckFailed, run_measurement
from vortex.bench.memory.attach import AttachMeasurement, same_bits

pytestmark = pytest.mark.root


def test_a_tiny_model_is_timed_on_both_sides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = write_folder(tmp_path / "model", "llama", torch.bfloat16)
    codecs = ("raw", "lossless", "int4")
    report = run_measurement(
        AttachMeasurement(budget_bytes=150_000, folder=folder, codecs=codecs, rows=2, runs=1, threads=1)
    )
    seen = report.figures["contenders"]
    assert list(seen) == [*codecs, "accelerate"]
    assert 0 < seen["raw"]["resident_bytes"] <= 150_000 < report.figures["weight_bytes"]
    assert all(seen[codec]["accelerate_ratio"] > 0 for codec in codecs)
    assert seen["lossless"]["logits_off"] == seen["accelerate"]["logits_off"] == 0 < seen["int4"]["logits_off"] < 0.3
    assert not list(tmp_path.glob("vortex-bench-*")), "nothing is left behind"


def test_different_logits_are_never_timed() -> None:
    one, other = np.zeros(2), np.ones(2)
    same_bits({"raw": one, "accelerate": one, "int4": other, "AirLLM": other})
    with pytest.raises(CheckFailed, match="raw and accelerate give different logits"):
        same_bits({"raw": one, "int4": other, "accelerate": other})
