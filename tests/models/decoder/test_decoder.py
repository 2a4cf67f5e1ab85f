"""The decoder's contract, on torch's packed products with small random models, the numpy decoder as oracle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gguf.constants import GGMLQuantizationType as Type

from tests.models.tiny_models import CONFIGS, write_safetensors
from vortex.c3.format.folder import C3Folder, C3Writer
from vortex.c3.sources import ResidentSource
from vortex.errors import ContextOverflow
from vortex.models.decoder.model import Decoder
from vortex.models.decoder.reference_compute import ReferenceCompute
from vortex.models.files.formats import affine, dense
from vortex.models.files.raw_tensor import RawTensor
from vortex.models.files.safetensors import SafetensorsCheckpoint
from vortex.types import Span, Want

RNG = np.random.default_rng(3)


def tokens(count: int) -> list[int]:
    return [int(token) for token in RNG.integers(0, 160, count)]


def torch_decoder(checkpoint: SafetensorsCheckpoint, folder: Path, form: str = "auto") -> Decoder:
    from vortex.models.decoder.torch_compute import TorchCompute
    from vortex.models.decoder.torch_pack import pack

    with C3Writer(folder, {}) as writer:
        pack(checkpoint, writer, form)
    return Decoder(checkpoint.config, TorchCompute(checkpoint.config, ResidentSource(C3Folder(folder))))


ALL = [pytest.param(name, marks=pytest.mark.long) if name == "gpt_oss" else name for name in CONFIGS]


@pytest.fixture(scope="module", params=ALL)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SafetensorsCheckpoint:
    return SafetensorsCheckpoint(write_safetensors(tmp_path_factory.mktemp("tiny"), request.param))


@pytest.fixture(scope="module")
def model(checkpoint: SafetensorsCheckpoint, tmp_path_factory: pytest.TempPathFactory) -> Decoder:
    return torch_decoder(checkpoint, tmp_path_factory.mktemp("packed") / "tiny.c3")


def run(model: Decoder, token_ids: list[int], step: int) -> np.ndarray:
    state, parts = model.new_state(), []
    for start in range(0, len(token_ids), step):
        piece = token_ids[start : start + step]
        parts.append(model.sweep([Span(state, piece, Want.ALL_LOGITS)]).logits)
        state.commit(len(piece))
    return np.concatenate(parts)


def relative_error(ours: np.ndarray, oracle: np.ndarray) -> float:
    return float(np.sqrt(np.mean((ours - oracle) ** 2) / np.mean(oracle**2)))


class RoundedCheckpoint:
    """The same model with its matrices rounded as a form rounds them: what the packed products must compute."""

    def __init__(self, checkpoint: SafetensorsCheckpoint, form: str) -> None:
        self.config, self.checkpoint, self.form = checkpoint.config, checkpoint, form

    def tensor(self, name: str) -> RawTensor:
        tensor = self.checkpoint.tensor(name)
        if self.form == "bf16" or tensor.rows == 1 or name.rsplit(".", 1)[-1] in {"embedding", "router"}:
            return tensor
        values = affine(tensor, bits_for_floats=4 if self.form == "int4" else 8).dense().astype(np.float32)
        return RawTensor(Type.F32, tensor.rows, tensor.columns, values.view(np.uint8))


EACH_ARCHITECTURE = [
    pytest.param(name, marks=() if name in {"llama", "gemma3", "qwen3_moe"} else pytest.mark.long) for name in CONFIGS
]


@pytest.mark.parametrize("checkpoint", EACH_ARCHITECTURE, indirect=True)
@pytest.mark.parametrize("form", ["int8", "bf16", "int4"])
def test_each_form_is_near_the_oracle(checkpoint: SafetensorsCheckpoint, form: str, tmp_path: Path) -> None:
    token_ids = tokens(40)
    ours = run(torch_decoder(checkpoint, tmp_path / "x.c3", form), token_ids, 16)
    reference = ReferenceCompute(RoundedCheckpoint(checkpoint, form))
    reference.head = dense(RoundedCheckpoint(checkpoint, form).tensor("head"))  # tied heads are rounded, embeddings not
    expected = run(Decoder(checkpoint.config, reference), token_ids, 16)
    if checkpoint.config.num_experts:  # a near tie of two experts may fall the other way: most rows must agree
        assert np.median([relative_error(*rows) for rows in zip(ours, expected, strict=True)]) < 0.05
    else:
        assert relative_error(ours, expected) < 0.03


def test_neighbours_change_no_bit(model: Decoder) -> None:
    """Each sequence, alone and in one ragged sweep with prompts and decodes of others."""
    prompts = [tokens(count) for count in (30, 1, 17, 5)]
    alone = []
    for prompt in prompts:
        state = model.new_state()
        alone.append(model.sweep([Span(state, prompt, Want.ALL_LOGITS)]).logits)
    states = [model.new_state() for _ in prompts]
    output = model.sweep([Span(s, p, Want.ALL_LOGITS) for s, p in zip(states, prompts, strict=True)])
    for rows, expected in zip(output.logits_rows, alone, strict=True):
        np.testing.assert_array_equal(output.logits[rows], expected)


def test_uncommitted_tokens_leave_no_trace(model: Decoder) -> None:
    prompt, state, other = tokens(20), model.new_state(), model.new_state()
    for fresh in (state, other):
        model.sweep([Span(fresh, prompt)])
        fresh.commit(20)
    model.sweep([Span(state, tokens(9), Want.ALL_LOGITS)])
    state.commit(0)
    assert state.length == 20
    last = [11]
    np.testing.assert_array_equal(model.sweep([Span(state, last)]).logits, model.sweep([Span(other, last)]).logits)


def test_a_snapshot_is_independent(model: Decoder) -> None:
    state = model.new_state()
    model.sweep([Span(state, tokens(20))])
    state.commit(20)
    copy = state.snapshot()
    expected = model.sweep([Span(state, [5])]).logits
    state.commit(1)
    state.close()
    np.testing.assert_array_equal(model.sweep([Span(copy, [5])]).logits, expected)
    assert copy.length == 20


def test_wanted_rows(model: Decoder) -> None:
    states = [model.new_state() for _ in range(4)]
    wants = [Want.NOTHING, Want.LAST_LOGITS, Want.ALL_LOGITS, Want.ALL_HIDDEN]
    output = model.sweep([Span(s, tokens(6), w) for s, w in zip(states, wants, strict=True)])
    assert [rows.stop - rows.start for rows in output.logits_rows] == [0, 1, 6, 0]
    assert output.logits.shape == (7, model.vocab_size)
    assert output.hidden is not None
    assert output.hidden.shape == (6, model.config.width)
    assert output.logits.dtype == output.hidden.dtype == np.float32


def test_beyond_the_context_is_refused_with_both_numbers(model: Decoder) -> None:
    with pytest.raises(ContextOverflow, match=r"129.*128"):
        model.sweep([Span(model.new_state(), tokens(129))])


def test_a_state_gives_its_memory_back(model: Decoder) -> None:
    state = model.new_state()
    model.sweep([Span(state, tokens(10))])
    assert state.resident_bytes > 0
    state.close()
    state.close()
    assert state.resident_bytes == 0


def test_cost_grows_with_rows(model: Decoder) -> None:
    one, four = (model.sweep_cost([Span(model.new_state(), tokens(count))]) for count in (1, 4))
    assert four.flops == 4 * one.flops
    assert one.bytes_to_fetch == 0 < one.bytes_to_read
