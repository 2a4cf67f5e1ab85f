"""Adapters in the decoders: near a model whose weights they were merged into, and the law in full."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.adapters.random_adapters import random_adapter
from tests.models.decoder.test_decoder import torch_decoder
from tests.models.tiny_models import CONFIGS, write_safetensors
from vortex.c3.format.folder import C3Folder, C3Writer, aligned
from vortex.c3.paging.expert_pager import ExpertPager
from vortex.c3.paging.options import PagerOptions
from vortex.c3.paging.pager import Pager
from vortex.c3.sources import ResidentSource, WeightSource, units_of
from vortex.kernels import dispatch
from vortex.models.decoder import native_pack
from vortex.models.decoder.adapter_parts import layer_parts
from vortex.models.decoder.model import Decoder
from vortex.models.decoder.native_compute import NativeCompute
from vortex.models.decoder.reference_compute import ReferenceCompute
from vortex.models.files.safetensors import SafetensorsCheckpoint
from vortex.types import Adapter, Span, Want

pytestmark = pytest.mark.skipif(dispatch.native_module() is None, reason="the native core was not built")
TOKENS = [int(token) for token in np.random.default_rng(5).integers(0, 160, 100)]
ARCHITECTURES = list(CONFIGS)


@pytest.fixture(scope="module", params=ARCHITECTURES)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SafetensorsCheckpoint:
    return SafetensorsCheckpoint(write_safetensors(tmp_path_factory.mktemp("tiny"), request.param))


@pytest.fixture(scope="module")
def folder(checkpoint: SafetensorsCheckpoint, tmp_path_factory: pytest.TempPathFactory) -> C3Folder:
    path = tmp_path_factory.mktemp("packed") / "tiny.c3"
    with C3Writer(path, {"experts_per_token": checkpoint.config.experts_per_token}) as writer:
        native_pack.pack(checkpoint, writer, "auto")
    return C3Folder(path)


@pytest.fixture(scope="module")
def native(checkpoint: SafetensorsCheckpoint, folder: C3Folder) -> Decoder:
    return Decoder(checkpoint.config, NativeCompute(checkpoint.config, ResidentSource(folder), threads=2))


def swept(model: Decoder, token_ids: list[int], adapter: Adapter | None, *, cuts: tuple[int, ...] = ()) -> np.ndarray:
    """Logits of all positions, swept alone in pieces that end at `cuts`."""
    state, parts = model.new_state(), []
    for start, stop in zip((0, *cuts), (*cuts, len(token_ids)), strict=True):
        parts.append(model.sweep([Span(state, token_ids[start:stop], Want.ALL_LOGITS, adapter)]).logits)
        state.commit(stop - start)
    state.close()
    return np.concatenate(parts)


def with_merged_weights(checkpoint: SafetensorsCheckpoint, adapter: Adapter) -> Decoder:
    """The plain reference of a model whose matrices have the adapter in them."""
    compute = ReferenceCompute(checkpoint)
    for index, weights in enumerate(compute.layers):
        for name, part in layer_parts(checkpoint.config, adapter, index).items():
            a, b = part.dense()
            weights[name] = weights[name] + np.float32(part.scale) * (b @ a)
    return Decoder(checkpoint.config, compute)


def near(found: np.ndarray, expected: np.ndarray, tolerance: float) -> bool:
    """By root of mean squares: int8 activations scatter."""
    return bool(np.sqrt(np.mean((found - expected) ** 2) / np.mean(expected**2)) < tolerance)


def test_the_reference_is_the_merged_model(checkpoint: SafetensorsCheckpoint) -> None:
    model = Decoder(checkpoint.config, ReferenceCompute(checkpoint))
    adapter = random_adapter(model.adapter_targets(), rank=4, scale=1.5)
    found, alone = swept(model, TOKENS[:20], adapter), swept(model, TOKENS[:20], None)
    assert near(found, swept(with_merged_weights(checkpoint, adapter), TOKENS[:20], None), 1e-5)
    assert not near(found, alone, 0.2)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.uint16])
def test_the_native_core_is_near_the_merged_model(
    checkpoint: SafetensorsCheckpoint, native: Decoder, dtype: type[np.generic]
) -> None:
    adapter = random_adapter(native.adapter_targets(), rank=5, dtype=dtype, scale=1.5)
    found, alone = swept(native, TOKENS[:20], adapter), swept(native, TOKENS[:20], None)
    expected = swept(with_merged_weights(checkpoint, adapter), TOKENS[:20], None)
    unchanged = swept(Decoder(checkpoint.config, ReferenceCompute(checkpoint)), TOKENS[:20], None)
    scatter = np.sqrt(np.mean((alone - unchanged) ** 2) / np.mean(unchanged**2))
    assert near(found, expected, max(0.02, 2.5 * float(scatter)))
    assert not near(found, alone, 0.2)


def test_each_part_alone_goes_where_it_belongs(checkpoint: SafetensorsCheckpoint, native: Decoder) -> None:
    whole = random_adapter(native.adapter_targets(), rank=16, seed=3)
    unchanged = swept(native, TOKENS[:12], None)
    tolerance = 0.4 if checkpoint.config.num_experts else 0.1  # a token may go to other experts by rounding
    for name in native.adapter_targets():
        if ".layers.1." not in name:
            continue
        one = dataclasses.replace(whole, parts={name: whole.parts[name]})
        expected = swept(with_merged_weights(checkpoint, one), TOKENS[:12], None)
        found = swept(native, TOKENS[:12], one)
        assert near(found, expected, tolerance), name
        assert not np.array_equal(found, unchanged), name


def test_alone_or_in_company_any_chunks_the_same_bits(native: Decoder) -> None:
    targets = native.adapter_targets()
    adapters = [None, *(random_adapter(targets, rank, rank) for rank in (1, 4, 16, 33)), None]
    adapters.append(random_adapter(targets, 8, 8, dtype=np.uint16))
    expected = [swept(native, TOKENS[i : i + 40 + i], adapter) for i, adapter in enumerate(adapters)]
    for cuts in ((17,), (1, 2, 3, 20), (39,)):
        for i, adapter in enumerate(adapters):
            found = swept(native, TOKENS[i : i + 40 + i], adapter, cuts=cuts)
            np.testing.assert_array_equal(found, expected[i])
    for piece in (1, 7, 40):
        np.testing.assert_array_equal(np.concatenate(together(native, adapters, piece)), np.concatenate(expected))


def together(native: Decoder, adapters: list[Adapter | None], piece: int) -> list[np.ndarray]:
    """Each sequence's logits, all of them in the same sweeps, `piece` tokens at a time."""
    texts = [TOKENS[i : i + 40 + i] for i in range(len(adapters))]
    states = [native.new_state() for _ in adapters]
    parts: list[list[np.ndarray]] = [[] for _ in adapters]
    while riding := [i for i, state in enumerate(states) if state.length < len(texts[i])]:
        ids = {i: texts[i][states[i].length : states[i].length + piece] for i in riding}
        output = native.sweep([Span(states[i], ids[i], Want.ALL_LOGITS, adapters[i]) for i in riding])
        for i, rows in zip(riding, output.logits_rows, strict=True):
            parts[i].append(output.logits[rows])
            states[i].commit(len(ids[i]))
    for state in states:
        state.close()
    return [np.concatenate(each) for each in parts]


def test_threads_and_instruction_sets_change_no_bit(native: Decoder) -> None:
    adapter = random_adapter(native.adapter_targets(), rank=6)
    expected = swept(native, TOKENS[:40], adapter)
    core, before = native.compute.native, native.compute.native.current()
    try:
        for name in core.available():
            core.use(name)
            for threads in (1, 2, 3):
                core.set_threads(threads)
                np.testing.assert_array_equal(swept(native, TOKENS[:40], adapter), expected)
    finally:
        core.use(before)
        core.set_threads(2)


def test_paged_weights_change_no_bit(checkpoint: SafetensorsCheckpoint, folder: C3Folder, native: Decoder) -> None:
    adapter = random_adapter(native.adapter_targets(), rank=6)
    everything = sum(aligned(part.num_bytes) for parts in units_of(folder.entries).values() for part in parts)
    kind: Callable[..., WeightSource] = ExpertPager if checkpoint.config.num_experts else Pager
    source = kind(folder, PagerOptions(budget_bytes=everything - 1))
    paged = Decoder(checkpoint.config, NativeCompute(checkpoint.config, source, threads=2))
    for each in (adapter, None):
        np.testing.assert_array_equal(swept(paged, TOKENS[:40], each), swept(native, TOKENS[:40], each))
    paged.close()


def test_an_adapter_that_does_not_fit_is_a_defect_that_shows(native: Decoder, tmp_path: Path) -> None:
    targets = native.adapter_targets()
    name = next(iter(targets))
    rows, columns = targets[name]
    wrong = random_adapter({name: (rows + 16, columns)})
    with pytest.raises(ValueError, match="does not fit"):
        swept(native, TOKENS[:4], wrong)


@pytest.mark.parametrize("architecture", ["llama3", "qwen2", "gemma3", "qwen3_moe"])
@pytest.mark.long
def test_the_torch_compute(architecture: str, tmp_path: Path) -> None:
    """Near the merged model, and a span's bits do not depend on its neighbours."""
    checkpoint = SafetensorsCheckpoint(write_safetensors(tmp_path / "tiny", architecture))
    model = torch_decoder(checkpoint, tmp_path / "tiny.c3", "bf16")
    adapters = [None, *(random_adapter(model.adapter_targets(), rank, rank, scale=1.5) for rank in (4, 16)), None]
    alone = [swept(model, TOKENS[:20], adapter) for adapter in adapters]
    states = [model.new_state() for _ in adapters]
    pairs = zip(states, adapters, strict=True)
    output = model.sweep([Span(state, TOKENS[:20], Want.ALL_LOGITS, adapter) for state, adapter in pairs])
    for rows, expected in zip(output.logits_rows, alone, strict=True):
        np.testing.assert_array_equal(output.logits[rows], expected)
    for adapter, found in zip(adapters[1:3], alone[1:3], strict=True):
        assert adapter is not None
        expected = swept(with_merged_weights(checkpoint, adapter), TOKENS[:20], None)
        assert near(found, expected, 0.3 if checkpoint.config.num_experts else 0.05)
        assert not near(found, alone[0], 0.2)
