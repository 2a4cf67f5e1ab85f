"""Drafted answers of the real default model, resident and paged, equal plain ones over a covering set of ways.

The whole comparison, with all prompts, is `vortex bench generate --equality`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from vortex.bench.asking import Subject
from vortex.bench.equality import EqualityMeasurement
from vortex.bench.measurement import run_measurement
from vortex.bench.task_prompts import spread, task_prompts
from vortex.hub.names import resolve
from vortex.models.decoder.opening import open_decoder
from vortex.models.opened import LoadOptions
from vortex.tokenizer.chat_format import TemplateChatFormat

pytestmark = pytest.mark.long


def subject(path: Path, packed_root: Path, budget_bytes: int) -> Subject:
    loaded = open_decoder(path, LoadOptions(packed_root=packed_root, budget_bytes=budget_bytes, device="cpu"))
    return Subject("smollm2-135m", loaded.model, loaded.tokenizer, TemplateChatFormat(loaded.tokenizer))


def test_no_way_of_drafting_changes_an_answer() -> None:
    resolved = resolve("smollm2-135m")
    subjects = {
        weights: subject(resolved.path, resolved.made_folder, budget)
        for weights, budget in {"resident": 0, "paged": 80_000_000}.items()
    }
    assert subjects["paged"].model.sweep_cost([]).bytes_to_fetch > 0
    report = run_measurement(EqualityMeasurement(subjects, spread(task_prompts(), 1), new_tokens=40, stride=3))
    for each in subjects.values():
        each.model.close()
    assert report.figures["answers_compared"] == 2 * report.figures["ways"]
    assert report.figures["differences"] == 0, report.rows
