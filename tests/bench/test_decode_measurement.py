"""Measurements refuse to time what is wrong, and report what they timed."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from vortex.bench.decode import DecodeMeasurement, prefill
from vortex.bench.measurement import MEASUREMENTS, CheckFailed, run_measurement
from vortex.bench.peer import Peer
from vortex.bench.report import Report, save_json, save_plot
from vortex.errors import MissingCapability
from vortex.models.hash_model import HashModel, HashModelOptions
from vortex.types import Span, SweepOutput

PROMPT = list(range(40))


class BlindModel(HashModel):
    """Forgets what it was told in an earlier sweep: right in one piece, wrong token by token."""

    def sweep(self, spans: Sequence[Span]) -> SweepOutput:
        for span in spans:
            span.state._hash = 0
        return super().sweep(spans)


class SilentModel(HashModel):
    """Computes nothing that is a number."""

    def sweep(self, spans: Sequence[Span]) -> SweepOutput:
        output = super().sweep(spans)
        return SweepOutput(np.full_like(output.logits, np.nan), output.logits_rows)


def measurement(model: HashModel, **options: object) -> DecodeMeasurement:
    return DecodeMeasurement(model, "hash", PROMPT, new_tokens=4, runs=2, **options)


def test_a_right_model_is_timed_and_leaves_no_state_behind() -> None:
    model = HashModel()
    report = run_measurement(measurement(model, streams=4))
    assert report.figures["decode_tokens_per_s"] > 0
    assert report.figures["streams"] == 4
    assert [row[0] for row in report.rows] == ["vortex hash", "4 streams together", "against one stream"]
    assert model.open_states == 0


@pytest.mark.parametrize("broken", [BlindModel, SilentModel])
def test_a_wrong_model_is_never_timed(broken: type[HashModel]) -> None:
    with pytest.raises(CheckFailed):
        run_measurement(measurement(broken()))


def test_prefill_gives_the_same_logits_for_any_chunk() -> None:
    model = HashModel(HashModelOptions(prefill_chunk=16))
    whole = prefill(model, model.new_state(), PROMPT)
    for chunk in (1, 7, 40, 100):
        np.testing.assert_array_equal(prefill(model, model.new_state(), PROMPT, chunk), whole)


def test_a_peer_that_is_not_installed_is_named() -> None:
    with pytest.raises(MissingCapability, match=r"llama\.cpp's Python package is not in .*--peer-python"):
        Peer("llama.cpp", sys.executable)
    with pytest.raises(MissingCapability, match="cannot start"):
        Peer("llama.cpp", "/nowhere/python")


@pytest.mark.parametrize("name", sorted(MEASUREMENTS))
def test_every_registered_measurement_checks_and_measures(name: str) -> None:
    module, _, class_name = MEASUREMENTS[name].partition(":")
    found = getattr(importlib.import_module(module), class_name)
    assert callable(found.check)
    assert callable(found.measure)


def report() -> Report:
    return Report("sample", "A sample", ["what", "rate"], [["a", "1"]], {"rate": 1.5}, {"a": 1.5, "b": 2.0}, "tokens/s")


def test_a_report_is_one_line_of_json_with_its_machine(tmp_path: Path) -> None:
    file = tmp_path / "new" / "folder" / "last.json"
    save_json(report(), file)
    text = file.read_text()
    assert text.count("\n") == 1
    found = json.loads(text)
    assert found["rate"] == 1.5
    assert {"cpu", "cores", "memory_gb"} <= found["machine"].keys()


@pytest.mark.long
def test_a_report_can_be_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    save_plot(report(), tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
