"""Every family against transformers' own class: the same logits, whatever the chunks, and near them when packed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.models.families.random_models import CONFIGS, TOKENS, write_model
from vortex.models.blueprint.compute import BlueprintCompute
from vortex.models.blueprint.dense import DenseWeights
from vortex.models.decoder.model import SweptModel
from vortex.models.families.checkpoint import FamilyCheckpoint
from vortex.types import Span, Want

NEAR = 1e-4  # of the largest logit


@dataclass(frozen=True)
class Written:
    folder: Path
    logits: np.ndarray

    def dense(self) -> SweptModel:
        checkpoint = FamilyCheckpoint(self.folder)
        return SweptModel(checkpoint.blueprint, BlueprintCompute(checkpoint.blueprint, DenseWeights(checkpoint)), 1)


@pytest.fixture(scope="module", params=list(CONFIGS))
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Written:
    folder = tmp_path_factory.mktemp(request.param)
    return Written(folder, write_model(folder, request.param))


def swept(model: SweptModel, token_ids: Sequence[int], cuts: Sequence[int]) -> np.ndarray:
    """Logits of all tokens, in spans of these lengths, each followed by drafts that are dropped."""
    state, rows, at = model.new_state(), [], 0
    for count in cuts:
        drafts = [7, 8, 9]
        output = model.sweep([Span(state, [*token_ids[at : at + count], *drafts], Want.ALL_LOGITS)])
        state.commit(count)
        rows.append(output.logits[:count])
        at += count
    assert at == len(token_ids)
    state.close()
    return np.concatenate(rows)


def test_logits_are_those_of_transformers(written: Written) -> None:
    ours = swept(written.dense(), TOKENS, [len(TOKENS)])
    assert np.abs(ours - written.logits).max() < NEAR * np.abs(written.logits).max()


def test_chunks_steps_and_dropped_drafts_change_no_bit(written: Written) -> None:
    model = written.dense()
    whole = swept(model, TOKENS, [len(TOKENS)])
    for cuts in ([1] * len(TOKENS), [7, 1, 16, 3, 13]):
        assert np.array_equal(swept(model, TOKENS, cuts), whole)
