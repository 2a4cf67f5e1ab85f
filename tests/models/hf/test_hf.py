"""Transformers models as LanguageModels: the tokens of the library's own generate, several streams in one sweep."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from tests.models.tiny_transformers import CONFIGS, VOCAB_SIZE, one_thread, tiny_model
from vortex.errors import ContextOverflow
from vortex.models.hf.model import HfModel
from vortex.models.hf.rows import TILE, Mode, Rows
from vortex.types import Exactness, Span, Want

NEW_TOKENS = 10
CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("one_thread")
__all__ = ["one_thread"]
JOINED = sorted(CONFIGS.keys() - {"bloom"})


def prompts_of(*lengths: int) -> list[list[int]]:
    rng = np.random.default_rng(0)
    return [rng.integers(2, VOCAB_SIZE, length).tolist() for length in lengths]


def generated(model: torch.nn.Module, prompt: Sequence[int]) -> list[int]:
    ids = torch.tensor([prompt], device=model.device)
    out = model.generate(ids, max_new_tokens=NEW_TOKENS, do_sample=False, pad_token_id=0, eos_token_id=VOCAB_SIZE)
    return out[0, len(prompt) :].tolist()


def swept(model: HfModel, prompts: Sequence[Sequence[int]]) -> list[list[int]]:
    """Greedy continuations, all prompts together in every sweep."""
    states = [model.new_state() for _ in prompts]
    spans = [Span(state, prompt) for state, prompt in zip(states, prompts, strict=True)]
    answers: list[list[int]] = [[] for _ in prompts]
    for _ in range(NEW_TOKENS):
        output = model.sweep(spans)
        for span, answer, rows in zip(spans, answers, output.logits_rows, strict=True):
            span.state.commit(len(span.token_ids))
            answer.append(int(output.logits[rows].argmax()))
        spans = [Span(state, answer[-1:]) for state, answer in zip(states, answers, strict=True)]
    return answers


def check_generates_alike(name: str, dtype: torch.dtype, device: torch.device = CPU) -> HfModel:
    library = tiny_model(name, dtype).to(device)
    prompts = prompts_of(7, 40, 1, 23)
    wanted = [generated(library, prompt) for prompt in prompts]
    model = HfModel(library)
    assert swept(model, prompts) == wanted
    assert model.joins == (name in JOINED)
    return model


@pytest.mark.parametrize("name", ["gemma3", "gpt2", "bloom"])
def test_streams_swept_together_are_what_the_library_generates(name: str) -> None:
    check_generates_alike(name, torch.float32)


@pytest.mark.long
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", CONFIGS)
def test_every_architecture_is_what_the_library_generates(name: str, dtype: torch.dtype) -> None:
    model = check_generates_alike(name, dtype)
    assert model.exactness is Exactness.ARGMAX or name in {"qwen3_moe", "gpt_oss"}


@pytest.fixture(scope="module")
def llama() -> HfModel:
    return HfModel(tiny_model("llama"))


@pytest.fixture(scope="module")
def bloom() -> HfModel:
    return HfModel(tiny_model("bloom"))


@pytest.fixture(params=["llama", "bloom"])
def model(request: pytest.FixtureRequest) -> HfModel:
    return request.getfixturevalue(request.param)


def test_a_commit_drops_what_was_drafted_and_a_snapshot_goes_its_own_way(model: HfModel) -> None:
    (prompt,) = prompts_of(20)
    plain = model.new_state()
    model.sweep([Span(plain, prompt)])
    plain.commit(20)
    wanted = model.sweep([Span(plain, [5])]).logits
    drafted = model.new_state()
    model.sweep([Span(drafted, prompt)])
    drafted.commit(20)
    model.sweep([Span(drafted, [9, 8, 7], Want.ALL_LOGITS)])
    drafted.commit(0)
    copied = drafted.snapshot()
    model.sweep([Span(drafted, [6, 6])])
    drafted.commit(2)
    assert (drafted.length, copied.length) == (22, 20)
    assert np.array_equal(model.sweep([Span(copied, [5])]).logits, wanted)
    copied.commit(1)
    copied.close()
    copied.close()
    assert copied.resident_bytes == 0 < plain.resident_bytes


def test_a_row_has_the_same_bits_alone_and_among_others(model: HfModel) -> None:
    assert model.exactness is Exactness.ARGMAX

    def row(others: Sequence[int]) -> np.ndarray:
        prompts = prompts_of(7, *others)
        states = [model.new_state() for _ in prompts]
        model.sweep([Span(state, prompt, Want.NOTHING) for state, prompt in zip(states, prompts, strict=True)])
        for state, prompt in zip(states, prompts, strict=True):
            state.commit(len(prompt))
        return model.sweep([Span(state, [3]) for state in reversed(states)]).logits[-1]

    assert np.array_equal(row([]), row([3]))
    assert np.array_equal(row([]), row([33, 1, 1, 16, 17]))


def test_every_span_gets_the_rows_it_wants(model: HfModel) -> None:
    prompts = prompts_of(18, 3, 2, 20)
    wants = [Want.ALL_LOGITS, Want.NOTHING, Want.ALL_HIDDEN, Want.LAST_LOGITS]
    spans = [Span(model.new_state(), prompt, want) for prompt, want in zip(prompts, wants, strict=True)]
    output = model.sweep(spans)
    assert [rows.stop - rows.start for rows in output.logits_rows] == [18, 0, 0, 1]
    assert output.hidden is not None
    assert [rows.stop - rows.start for rows in output.hidden_rows] == [0, 0, 2, 0]
    assert output.hidden.shape == (2, 64)
    for prompt, rows in ((prompts[0], output.logits_rows[0]), (prompts[3], output.logits_rows[3])):
        alone = model.sweep([Span(model.new_state(), prompt, Want.LAST_LOGITS)]).logits
        np.testing.assert_allclose(output.logits[rows][-1:], alone, rtol=1e-4, atol=1e-4)


def test_the_context_is_a_limit(llama: HfModel) -> None:
    assert llama.context_length == 128
    assert HfModel(tiny_model("llama"), context_limit=64, examine=False).context_length == 64
    with pytest.raises(ContextOverflow, match="129 tokens do not fit the context of 128"):
        llama.sweep([Span(llama.new_state(), [5] * 129)])


def test_a_joined_sweep_reads_the_weights_once(llama: HfModel, bloom: HfModel) -> None:
    def ratio(model: HfModel) -> float:
        spans = [Span(model.new_state(), [3]) for _ in range(4)]
        return model.sweep_cost(spans).bytes_to_read / model.sweep_cost(spans[:1]).bytes_to_read

    assert (ratio(llama), ratio(bloom)) == (1, 4)


@pytest.mark.parametrize("mode", list(Mode))
def test_rows_are_cut_so_that_each_is_in_one_piece(mode: Mode) -> None:
    rows = Rows(mode)
    rows.cut([1, 1, 5, TILE, TILE + 1, 40], [0, 0, 1, 1, 1, 40])
    for pieces, total in ((rows.pieces, 24 + TILE + 40), (rows.wanted_pieces, 43)):
        assert [row for piece in pieces for row in range(piece.start, piece.stop)] == list(range(total))
    assert slice(23 + TILE + 1, 64 + TILE) in rows.pieces, "a prompt's chunk is a piece of its own"
    assert (slice(0, 1) in rows.pieces) == (mode is Mode.APART)
    assert rows.of(3, is_head=False) == rows._cut([1, 1, 1]), "rows that experts gather are all small"
