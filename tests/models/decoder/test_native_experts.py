"""Mixtures of experts in the native core, and gpt-oss's attention: near the oracle, the law, paged as resident."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

from tests.models.decoder.test_native_compute import TOKENS, relative_error, run
from tests.models.tiny_models import WITH_EXPERTS, write_safetensors
from vortex.c3.format.folder import C3Folder, C3Writer, aligned
from vortex.c3.paging.expert_pager import ExpertPager
from vortex.c3.paging.options import PagerOptions
from vortex.c3.sources import ResidentSource, WeightSource, expert_unit, units_of
from vortex.kernels import dispatch
from vortex.models.decoder import native_pack
from vortex.models.decoder.expert_router import route, route_batch
from vortex.models.decoder.model import Decoder
from vortex.models.decoder.native_compute import NativeCompute
from vortex.models.decoder.opening import open_decoder
from vortex.models.decoder.reference_compute import ReferenceCompute
from vortex.models.files.safetensors import SafetensorsCheckpoint
from vortex.models.opened import LoadOptions
from vortex.types import Exactness

pytestmark = pytest.mark.skipif(dispatch.native_module() is None, reason="the native core was not built")


@pytest.fixture(scope="module", params=WITH_EXPERTS)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SafetensorsCheckpoint:
    return SafetensorsCheckpoint(write_safetensors(tmp_path_factory.mktemp("tiny"), request.param))


@pytest.fixture(scope="module")
def folder(checkpoint: SafetensorsCheckpoint, tmp_path_factory: pytest.TempPathFactory) -> C3Folder:
    return packed(checkpoint, tmp_path_factory.mktemp("packed") / "tiny.c3", "auto")


def packed(checkpoint: SafetensorsCheckpoint, path: Path, form: str) -> C3Folder:
    with C3Writer(path, {"experts_per_token": checkpoint.config.experts_per_token}) as writer:
        native_pack.pack(checkpoint, writer, form)
    return C3Folder(path)


def decoder(checkpoint: SafetensorsCheckpoint, source: WeightSource, *, int8_cache: bool = False) -> Decoder:
    return Decoder(checkpoint.config, NativeCompute(checkpoint.config, source, int8_cache=int8_cache))


@pytest.mark.parametrize(
    "steps",
    [pytest.param([40], id="prompt"), pytest.param([1] * 40, id="decoding", marks=pytest.mark.long), [17, 1, 1, 21]],
)
def test_near_the_oracle(checkpoint: SafetensorsCheckpoint, tmp_path: Path, steps: list[int]) -> None:
    """Float weights, so that only the order of sums differs: sinks, windows and gates would show at once."""
    ours = decoder(checkpoint, ResidentSource(packed(checkpoint, tmp_path / "x.c3", "bf16")))
    rounded = ReferenceCompute(checkpoint)
    for layer in rounded.layers:
        for name, weight in layer.items():
            if weight.ndim == 2 and name != "router":
                layer[name] = as_bf16(weight)
    rounded.head = as_bf16(rounded.head)
    rounded.embedding = as_bf16(rounded.embedding)
    oracle = run(Decoder(checkpoint.config, rounded), TOKENS[:40], [40])
    assert relative_error(run(ours, TOKENS[:40], steps), oracle) < 2e-3  # keys and values are halves


def as_bf16(weight: np.ndarray) -> np.ndarray:
    """Rounded to nearest even, as packing does."""
    bits = weight.view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)


@pytest.mark.parametrize("int8_cache", [False, pytest.param(True, marks=pytest.mark.long)])
def test_the_law_for_any_chunks_threads_and_instruction_set(
    checkpoint: SafetensorsCheckpoint, folder: C3Folder, int8_cache: bool
) -> None:
    model = decoder(checkpoint, ResidentSource(folder), int8_cache=int8_cache)
    assert model.exactness is Exactness.BITWISE
    native, tokens = dispatch.load(), TOKENS[:100]
    threads, expected = native.threads(), run(model, tokens, [100])
    try:
        for count, steps in ((1, [70, 17, 1, 1, 4, 7]), (3, [9, 2, 89]), (2, [1] * 20 + [80])):
            native.set_threads(count)
            assert np.array_equal(run(model, tokens, steps), expected), (count, steps)
        for name in native.available()[1:]:
            native.use(name)
            assert np.array_equal(run(model, tokens, [40, 60]), expected), name
    finally:
        native.use(native.available()[0])
        native.set_threads(threads)


def test_paged_experts_give_the_same_bits(checkpoint: SafetensorsCheckpoint, folder: C3Folder) -> None:
    sizes = {unit: sum(aligned(part.num_bytes) for part in parts) for unit, parts in units_of(folder.entries).items()}
    trunk = sum(size for unit, size in sizes.items() if not expert_unit(unit))
    slot = max(size for unit, size in sizes.items() if expert_unit(unit))
    slots = checkpoint.config.num_layers * checkpoint.config.experts_per_token
    pager = ExpertPager(folder, PagerOptions(budget_bytes=trunk + slots * slot))
    expected = run(decoder(checkpoint, ResidentSource(folder)), TOKENS[:50], [50])
    paged = decoder(checkpoint, pager)
    assert np.array_equal(run(paged, TOKENS[:50], [40, 1, 9]), expected)
    assert pager.counters()["bytes_compressed_read"] > 0
    paged.close()


def test_routes_of_a_batch_are_the_routes_of_its_rows() -> None:
    rng = np.random.default_rng(0)
    for experts, top_k in ((4, 2), (8, 8), (37, 3), (128, 8)):
        scores = rng.standard_normal((90, experts)).astype(np.float32)
        scores[::7, 1:3] = scores[::7, :1]  # ties
        for normalise in (False, True):
            batch = route_batch(scores, top_k, normalise)
            found: list[list[tuple[int, np.float32]]] = [[] for _ in scores]
            for expert in range(experts):
                for row, share in zip(*batch.of(expert), strict=True):
                    found[row].append((expert, share))
            assert found == [route(row, top_k, normalise) for row in scores]
            assert np.array_equal(route_batch(scores[5:6], top_k, normalise).shares, [share for _, share in found[5]])


def test_a_folder_with_experts_loads_into_the_native_core(tmp_path: Path) -> None:
    source = write_safetensors(tmp_path / "tiny", "qwen3_moe")
    tokenizer = Tokenizer(BPE({letter: number for number, letter in enumerate(sorted(ByteLevel.alphabet())[:160])}, []))
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(source / "tokenizer.json"))
    loaded = open_decoder(source, LoadOptions(packed_root=tmp_path, device="cpu"))
    assert isinstance(loaded.model.compute, NativeCompute)
    assert np.isfinite(run(loaded.model, TOKENS[:20], [12, 8])).all()
