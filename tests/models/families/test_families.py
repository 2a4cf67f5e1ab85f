"""Every family against transformers' own class: the same logits, whatever the chunks, and near them when packed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.models.families.random_models import CONFIGS, TOKENS, write_model
from vortex.c3.format.folder import C3Folder, aligned
from vortex.errors import ConfigError
from vortex.models.blueprint.compute import BlueprintCompute
from vortex.models.blueprint.dense import DenseWeights
from vortex.models.decoder.model import SweptModel
from vortex.models.families.checkpoint import FamilyCheckpoint
from vortex.models.families.opening import pack_family, packed_model, weights_per_token
from vortex.models.opened import LoadOptions
from vortex.types import Span, Want

NEAR = 1e-4  # of the largest logit


@dataclass(frozen=True)
class Written:
    folder: Path
    logits: np.ndarray

    def packed(self, form: str = "bf16", budget_bytes: int = 0) -> SweptModel:
        path = self.folder / f"{form}.c3"
        options = LoadOptions(packed_root=self.folder, form=form, budget_bytes=budget_bytes, threads=2)
        folder = C3Folder(path) if path.exists() else pack_family(FamilyCheckpoint(self.folder), path, None, options)
        blueprint, compute = packed_model(folder, options)
        return SweptModel(blueprint, compute, weights_per_token(blueprint))

    def dense(self) -> SweptModel:
        checkpoint = FamilyCheckpoint(self.folder)
        return SweptModel(checkpoint.blueprint, BlueprintCompute(checkpoint.blueprint, DenseWeights(checkpoint)), 1)


QUICK = ("qwen3_5", "gemma4", "glm4_moe_lite")  # one of each kind of memory; the others with the long tests
MODELS = [name if name in QUICK else pytest.param(name, marks=pytest.mark.long) for name in CONFIGS]


@pytest.fixture(scope="module", params=MODELS)
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


def test_packed_is_near_and_keeps_the_law(written: Written) -> None:
    model = written.packed()
    whole = swept(model, TOKENS, [len(TOKENS)])
    errors = np.linalg.norm(whole - written.logits, axis=1) / np.linalg.norm(written.logits, axis=1)
    assert np.median(errors) < 0.08, "bfloat16 products (which now and then choose another expert)"
    for cuts in ([1] * len(TOKENS), [7, 1, 16, 3, 13]):
        assert np.array_equal(swept(model, TOKENS, cuts), whole)
    model.close()


def test_paged_gives_the_same_bits_as_resident(written: Written) -> None:
    resident, cuts = written.packed(), [33, 1, 1, 5]
    whole = swept(resident, TOKENS, cuts)
    entries = C3Folder(written.folder / "bf16.c3").entries.values()
    units = [entry for entry in entries if entry.name.rpartition(".")[2].isdigit()]
    all_bytes = sum(aligned(entry.num_bytes) for entry in units)
    for tenths in range(5, 11):  # the least that holds the experts of a token, or two layers
        with suppress(ConfigError):
            paged = written.packed(budget_bytes=all_bytes * tenths // 10)
            break
    assert np.array_equal(swept(paged, TOKENS, cuts), whole)
    assert paged.compute.bytes_to_fetch or paged.counters()["page_faults"] or tenths == 10
    paged.close()


def test_a_neighbour_a_snapshot_and_a_kept_state_change_no_bit(written: Written) -> None:
    model = written.packed()
    whole = swept(model, TOKENS, [20, *[1] * 20])
    state, other = model.new_state(), model.new_state()
    model.sweep([Span(other, TOKENS[5:12]), Span(state, TOKENS[:20])])
    state.commit(20)
    other.commit(7)
    copy = state.snapshot()
    model.sweep([Span(state, [3, 4, 5])])
    state.commit(3)
    kept = model.state_of(copy.length, [array.copy() for array in model.state_arrays(copy)])
    for each in (copy, kept):
        output = model.sweep([Span(other, [9, 8]), Span(each, TOKENS[20:], Want.ALL_LOGITS)])
        assert np.array_equal(output.logits[output.logits_rows[1]], whole[20:])
    model.close()
