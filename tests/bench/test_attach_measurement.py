"""`vortex bench attach` on a tiny model: both sides run in memory limits and give the same bits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.models.tiny_transformers import write_folder
from vortex.bench.attach import AttachMeasurement
from vortex.bench.measurement import CheckFailed, run_measurement

pytestmark = pytest.mark.root


def test_a_tiny_model_is_timed_on_both_sides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = write_folder(tmp_path / "model", "llama", torch.bfloat16)
    report = run_measurement(AttachMeasurement(budget_bytes=150_000, folder=folder, runs=1, threads=1))
    assert report.figures["same_bits"]
    assert 0 < report.figures["resident_bytes"] <= 150_000 < report.figures["weight_bytes"]
    assert report.figures["peer_seconds_per_token"] > 0
    assert [row[0].split(",")[0] for row in report.rows] == [
        "vortex.c3.attach", "accelerate", "bound: missing bytes / disk",
    ]  # fmt: skip
    assert not list(tmp_path.glob("vortex-bench-*")), "nothing is left behind"


def test_different_logits_are_never_timed() -> None:
    measurement = AttachMeasurement(budget_bytes=1, _digests={"attach": "a", "accelerate": "b"})
    with pytest.raises(CheckFailed, match="different logits"):
        measurement._same_bits()
