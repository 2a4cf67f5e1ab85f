"""Recall tasks ask what they stored; a training run is kept, read and reported."""

import dataclasses
import itertools
import json

import pytest
import torch

from tests.vblocks.core_models import one_thread
from vortex.bench.vblocks.recall import RecallMeasurement, recall_report, recall_task, run_one
from vortex.bench.vblocks.tasks import MARKER, MqarShape, Vocabulary, mqar, passkey
from vortex.errors import RequestError

__all__ = ["one_thread"]  # a fixture


@pytest.mark.parametrize("filler", [0, 2])
def test_every_question_has_its_answer_in_the_sequence(filler: int) -> None:
    vocabulary = Vocabulary(symbols=20)
    batch = mqar(vocabulary, MqarShape(pairs=9, queries=5, filler=filler), 4, torch.Generator().manual_seed(1))
    stored, first_filler = 9 * (2 + filler), 2 + 2 * 20
    places = set()
    for ids, targets in zip(batch.token_ids.tolist(), batch.targets.tolist(), strict=True):
        assert len(ids) == stored + 5
        keys_at = [at for at in range(stored) if ids[at] < 2 + 20]
        places.add(tuple(keys_at))
        known = {ids[at]: ids[at + 1] for at in keys_at}
        assert len(known) == 9
        assert [known[key] for key in ids[stored:]] == targets[stored:]
        assert set(targets[:stored]) == {-100}
        fillers = [token - first_filler for token in ids if token >= first_filler]
        assert all((one + 1) % vocabulary.fillers == other for one, other in itertools.pairwise(fillers))
    assert len(places) == (4 if filler else 1)  # pairs stand somewhere else in each sequence


def test_the_needle_is_in_the_filler_and_asked_at_the_end() -> None:
    vocabulary = Vocabulary(symbols=20)
    batch = passkey(vocabulary, 60, 3, 16, torch.Generator().manual_seed(2))
    for ids, targets in zip(batch.token_ids.tolist(), batch.targets.tolist(), strict=True):
        place = ids.index(MARKER)
        assert place < 55
        assert ids[place : place + 5] == ids[55:]
        assert targets[56:59] == ids[57:60]
        assert sum(target >= 0 for target in targets) == 3
        assert max(ids) < vocabulary.size


def small_task():
    task = recall_task("mqar", "small")
    return dataclasses.replace(task, train=(2, 3), test=(2,), test_sequences=4)


def test_runs_are_reproducible_kept_and_reported(tmp_path) -> None:
    task, variant = small_task(), "delta rule + LAVA"
    results = [run_one(task, variant, 1, lambda _: None, max_steps=2, max_batch=4) for _ in range(2)]
    assert results[0].accuracy == results[1].accuracy
    assert results[0].steps == 2
    (tmp_path / "mqar-a.json").write_text(json.dumps(results[0].as_json()))
    report = RecallMeasurement(task, seeds=[1], say=print, kept=tmp_path).measure()
    assert report.rows == recall_report(task, {variant: results[:1]}).rows
    assert json.loads(report.as_json())["accuracy_median"][variant]["2"] == results[0].accuracy[2]


def test_what_does_not_exist_is_named(tmp_path) -> None:
    with pytest.raises(RequestError, match="passkey"):
        recall_task("nothing", "small")
    with pytest.raises(RequestError, match="delta rule alone"):
        run_one(small_task(), "other", 0, print)
    with pytest.raises(RequestError, match="no results"):
        RecallMeasurement(small_task(), seeds=[0], say=print, kept=tmp_path).measure()
