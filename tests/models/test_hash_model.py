"""The model without weights keeps the contract that the engine is tested with."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vortex.errors import BackendError
from vortex.models.hash_model import HashModel, HashModelOptions
from vortex.types import Span, Want

IDS = st.lists(st.integers(0, 261), min_size=1, max_size=20)


@given(IDS, st.lists(st.integers(1, 20), max_size=6), IDS)
def test_logits_depend_on_the_tokens_alone(ids, cuts, other_ids):
    model = HashModel()
    whole = model.sweep([Span(model.new_state(), ids, Want.ALL_LOGITS)]).logits
    state, rows = model.new_state(), []
    edges = sorted({0, len(ids), *(min(cut, len(ids)) for cut in cuts)})
    for start, end in pairwise(edges):
        drafts = [*ids[start:end], 7]
        output = model.sweep([Span(model.new_state(), other_ids), Span(state, drafts, Want.ALL_LOGITS)])
        rows.append(output.logits[output.logits_rows[1]][: end - start])
        state.commit(end - start)
        state = state.snapshot()
    assert np.array_equal(np.concatenate(rows), whole)
    assert state.length == len(ids)


def test_remembered_cuts_change_the_logits():
    model = HashModel(HashModelOptions(remembers_cuts=True))
    whole = model.sweep([Span(model.new_state(), [1, 2, 3])]).logits
    state = model.new_state()
    model.sweep([Span(state, [1])])
    state.commit(1)
    assert not np.array_equal(model.sweep([Span(state, [2, 3])]).logits, whole)


def test_wants_and_counts():
    model = HashModel()
    spans = [Span(model.new_state(), [1, 2], want) for want in Want]
    output = model.sweep(spans)
    assert [rows.stop - rows.start for rows in output.logits_rows] == [0, 1, 2, 0]
    assert output.hidden is not None
    assert output.hidden.shape == (2, 32)
    for span in spans:
        span.state.commit(2)
        span.state.close()
        span.state.close()
    assert (model.open_states, model.num_sweeps) == (0, 1)


def test_misuse_and_ordered_faults_are_loud():
    model = HashModel(HashModelOptions(fail_at=frozenset({1}), context_length=3))
    state = model.new_state()
    model.sweep([Span(state, [1])])
    with pytest.raises(BackendError, match="sweep 1"):
        model.sweep([Span(state, [2])])
    with pytest.raises(AssertionError, match="before its last span"):
        model.sweep([Span(state, [2])])
    state.commit(1)
    with pytest.raises(AssertionError, match="beyond the context"):
        model.sweep([Span(state, [2, 3, 4])])
    state.close()
    with pytest.raises(AssertionError, match="closed"):
        model.sweep([Span(state, [2])])
