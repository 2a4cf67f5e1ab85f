"""The core's measurements check what they measure, and hold in small."""

import dataclasses

import pytest

from tests.vblocks.core_models import one_thread
from vortex.bench.measurement import run_measurement
from vortex.bench.vblocks.clusters import ClustersMeasurement
from vortex.bench.vblocks.flat import SHAPE, FlatMeasurement
from vortex.bench.vblocks.parity import BASE, FLAGS, ParityMeasurement, distances

__all__ = ["one_thread"]  # a fixture


@pytest.mark.parametrize(
    "flag", [name if name == "everything" else pytest.param(name, marks=pytest.mark.long) for name in FLAGS]
)
def test_the_forms_agree_whatever_the_flag(flag: str) -> None:
    found = distances(dataclasses.replace(BASE, **FLAGS[flag]))
    assert found.hold, found


@pytest.mark.long
def test_parity_notices_a_wrong_weight() -> None:
    ParityMeasurement().check()


@pytest.mark.long
def test_a_core_stays_flat_and_a_cache_grows() -> None:
    config = dataclasses.replace(SHAPE, width=64, mlp_width=128, vocab_size=256)
    report = run_measurement(FlatMeasurement(lengths=(64, 512), rounds=3, config=config))
    assert report.figures["state_bytes"]["core"][64] == report.figures["state_bytes"]["core"][512]
    assert report.figures["state_bytes"]["Transformer"][64] < report.figures["state_bytes"]["Transformer"][512]


@pytest.mark.long
def test_clusters_find_what_an_exact_read_finds() -> None:
    report = run_measurement(ClustersMeasurement(slots=(256,), queries=50))
    assert report.figures["by_slots"][256]["recall"] > 0.8
