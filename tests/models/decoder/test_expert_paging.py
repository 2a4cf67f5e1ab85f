"""Paged experts against resident ones: the same bits for every budget, and after a disk that failed."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import numpy as np
import pytest

from tests.models.tiny_models import WITH_EXPERTS, write_gguf_experts, write_safetensors
from vortex.c3.format.folder import C3Folder, C3Writer, aligned
from vortex.c3.paging.direct_file import DirectFile
from vortex.c3.paging.expert_pager import ExpertPager
from vortex.c3.paging.options import PagerOptions
from vortex.c3.sources import ResidentSource, WeightSource, expert_unit, units_of
from vortex.errors import ConfigError, StorageError, UnsupportedModel
from vortex.models.decoder.model import Decoder
from vortex.models.decoder.reference_compute import ReferenceCompute
from vortex.models.files.checkpoint import GgufCheckpoint
from vortex.models.files.hf_config import from_hf
from vortex.models.files.safetensors import SafetensorsCheckpoint
from vortex.types import Span, Want


@pytest.fixture(params=WITH_EXPERTS)
def model(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[SafetensorsCheckpoint, C3Folder]:
    from vortex.models.decoder.torch_pack import pack

    checkpoint = SafetensorsCheckpoint(write_safetensors(tmp_path / "tiny", request.param))
    metadata = {"experts_per_token": checkpoint.config.experts_per_token}
    with C3Writer(tmp_path / "tiny.c3", metadata) as writer:
        pack(checkpoint, writer, "int8")
    return checkpoint, C3Folder(tmp_path / "tiny.c3")


def logits(checkpoint: SafetensorsCheckpoint, source: WeightSource) -> np.ndarray:
    """A prompt that needs nearly all experts, a block, single tokens."""
    from vortex.models.decoder.torch_compute import TorchCompute

    decoder = Decoder(checkpoint.config, TorchCompute(checkpoint.config, source))
    state, parts = decoder.new_state(), []
    for ids in (range(40), range(5), [7], [9]):
        parts.append(decoder.sweep([Span(state, list(ids), Want.ALL_LOGITS)]).logits)
        state.commit(len(ids))
    state.close()
    return np.concatenate(parts)


def trunk_and_slot(folder: C3Folder) -> tuple[int, int]:
    sizes = {unit: sum(aligned(part.num_bytes) for part in parts) for unit, parts in units_of(folder.entries).items()}
    trunk = sum(size for unit, size in sizes.items() if not expert_unit(unit))
    return trunk, max(size for unit, size in sizes.items() if expert_unit(unit))


@pytest.mark.long  # the native core's own, in test_native_experts.py, is quick
def test_every_budget_gives_the_same_bits(model: tuple[SafetensorsCheckpoint, C3Folder]) -> None:
    checkpoint, folder = model
    trunk, slot = trunk_and_slot(folder)
    cycle = checkpoint.config.num_layers * checkpoint.config.experts_per_token
    expected = logits(checkpoint, ResidentSource(folder))
    for num_slots in (cycle, cycle + 2, 1000):
        budget = trunk + num_slots * slot
        pager = ExpertPager(folder, PagerOptions(budget_bytes=budget))
        for _ in range(2):
            np.testing.assert_array_equal(logits(checkpoint, pager), expected)
        assert pager.counters()["resident_bytes"] <= budget
        assert pager.counters()["bytes_compressed_read"] > 0
        pager.close()
    with pytest.raises(ConfigError, match="the smallest that works"):
        ExpertPager(folder, PagerOptions(budget_bytes=trunk + (cycle - 1) * slot))


def test_a_failed_expert_is_named_and_the_next_sweep_is_right(model: tuple[SafetensorsCheckpoint, C3Folder]) -> None:
    checkpoint, folder = model
    trunk, slot = trunk_and_slot(folder)
    cycle = checkpoint.config.num_layers * checkpoint.config.experts_per_token
    failing: set[int] = set()
    with DirectFile(folder.weights_path) as file:

        def read_into(target: memoryview, offset: int) -> None:
            if offset in failing:
                raise OSError(errno.EIO, "Input/output error")
            file.read_into(target, offset)

        pager = ExpertPager(folder, PagerOptions(budget_bytes=trunk + cycle * slot), read_into)
        expected = logits(checkpoint, pager)
        failing |= {entry.offset for name, entry in folder.entries.items() if name.startswith("layers.1.experts.")}
        with pytest.raises(StorageError, match=r"tile 1 of 1 of layers\.1\.experts\."):
            logits(checkpoint, pager)
        failing.clear()
        np.testing.assert_array_equal(logits(checkpoint, pager), expected)
        pager.close()


def test_stacked_experts_of_a_gguf_are_the_same_experts(tmp_path: Path) -> None:
    folder = SafetensorsCheckpoint(write_safetensors(tmp_path / "folder", "qwen3_moe"))
    gguf = GgufCheckpoint(write_gguf_experts(tmp_path / "model.gguf", "qwen3_moe"))
    assert gguf.config.num_experts == folder.config.num_experts
    ours, theirs = (Decoder(each.config, ReferenceCompute(each)) for each in (gguf, folder))
    spans = [[Span(each.new_state(), [3, 5, 8], Want.ALL_LOGITS)] for each in (ours, theirs)]
    np.testing.assert_allclose(ours.sweep(spans[0]).logits, theirs.sweep(spans[1]).logits, atol=1e-5)


def test_layers_without_experts_between_others_are_refused(tmp_path: Path) -> None:
    values = json.loads((write_safetensors(tmp_path, "qwen3_moe") / "config.json").read_text())
    with pytest.raises(UnsupportedModel, match="without experts"):
        from_hf({**values, "mlp_only_layers": [1]}, "x")
