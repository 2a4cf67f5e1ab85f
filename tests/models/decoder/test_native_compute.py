"""The native decoder: near the numpy one, and the law in full: a position's logits are the same bits however swept."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.models.tiny_models import DENSE, write_safetensors
from vortex.c3.format.folder import C3Folder, C3Writer
from vortex.c3.paging.options import PagerOptions
from vortex.c3.paging.pager import Pager
from vortex.c3.sources import ResidentSource, WeightSource
from vortex.errors import UnsupportedModel
from vortex.kernels import dispatch
from vortex.models.decoder import native_pack
from vortex.models.decoder.model import Decoder
from vortex.models.decoder.native_cache import NativeCache
from vortex.models.decoder.native_compute import NativeCompute
from vortex.models.decoder.reference_compute import ReferenceCompute
from vortex.models.files.safetensors import SafetensorsCheckpoint
from vortex.types import Exactness, Span, Want

pytestmark = pytest.mark.skipif(dispatch.native_module() is None, reason="the native core was not built")
TOKENS = [int(token) for token in np.random.default_rng(5).integers(0, 160, 620)]
LONG = {"max_position_embeddings": 1024}


@pytest.fixture(scope="module", params=DENSE)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SafetensorsCheckpoint:
    return SafetensorsCheckpoint(write_safetensors(tmp_path_factory.mktemp("tiny"), request.param))


@pytest.fixture(scope="module")
def folder(checkpoint: SafetensorsCheckpoint, tmp_path_factory: pytest.TempPathFactory) -> C3Folder:
    return packed(checkpoint, tmp_path_factory.mktemp("packed") / "tiny.c3")


def packed(checkpoint: SafetensorsCheckpoint, path: Path, form: str = "auto") -> C3Folder:
    with C3Writer(path, {}) as writer:
        native_pack.pack(checkpoint, writer, form)
    return C3Folder(path)


def decoder(checkpoint: SafetensorsCheckpoint, source: WeightSource, **options: Any) -> Decoder:
    config = dataclasses.replace(checkpoint.config, context_length=1024)
    return Decoder(config, NativeCompute(config, source, **options))


def run(model: Decoder, token_ids: list[int], steps: list[int]) -> np.ndarray:
    state, rows, at = model.new_state(), [], 0
    for step in steps:
        rows.append(model.sweep([Span(state, token_ids[at : at + step], Want.ALL_LOGITS)]).logits)
        state.commit(step)
        at += step
    state.close()
    return np.concatenate(rows)


def relative_error(ours: np.ndarray, oracle: np.ndarray) -> float:
    return float(np.sqrt(np.mean((ours - oracle) ** 2) / np.mean(oracle**2)))


@pytest.mark.parametrize(("form", "bound"), [("bf16", 0.01), ("auto", 0.05)])
def test_near_the_oracle(checkpoint: SafetensorsCheckpoint, tmp_path: Path, form: str, bound: float) -> None:
    """Tiny random models amplify rounding; bf16 weights of a bf16 file are exact, so only arithmetic differs."""
    ours = run(decoder(checkpoint, ResidentSource(packed(checkpoint, tmp_path / "x.c3", form))), TOKENS[:40], [40])
    oracle = run(Decoder(checkpoint.config, ReferenceCompute(checkpoint)), TOKENS[:40], [40])
    assert relative_error(ours, oracle) < bound


def test_the_law_for_any_chunks_threads_and_instruction_set(
    checkpoint: SafetensorsCheckpoint, folder: C3Folder
) -> None:
    model = decoder(checkpoint, ResidentSource(folder))
    assert model.exactness is Exactness.BITWISE
    native = dispatch.load()
    threads, expected = native.threads(), run(model, TOKENS, [620])
    try:
        for count, steps in ((1, [300, 17, 1, 1, 4, 297]), (3, [255, 2, 256, 107]), (2, [610] + [1] * 10)):
            native.set_threads(count)
            assert np.array_equal(run(model, TOKENS, steps), expected), (count, steps)
        for name in native.available()[1:]:
            native.use(name)
            assert np.array_equal(run(model, TOKENS[:300], [140, 160]), expected[:300]), name
    finally:
        native.use(native.available()[0])
        native.set_threads(threads)


@pytest.mark.parametrize("int8_cache", [False, True])
def test_neighbours_snapshots_and_dropped_drafts_change_nothing(
    checkpoint: SafetensorsCheckpoint, folder: C3Folder, int8_cache: bool
) -> None:
    model = decoder(checkpoint, ResidentSource(folder), int8_cache=int8_cache)
    expected = run(model, TOKENS[:60], [60])
    first, other = model.new_state(), model.new_state()
    model.sweep([Span(first, TOKENS[:50]), Span(other, TOKENS[100:400])])
    first.commit(50)
    other.commit(300)
    model.sweep([Span(first, [9] * 8)])  # a draft, refused
    first.commit(0)
    copy = first.snapshot()
    output = model.sweep([Span(other, [3]), Span(copy, TOKENS[50:60], Want.ALL_LOGITS), Span(first, TOKENS[50:51])])
    assert np.array_equal(output.logits[output.logits_rows[1]], expected[50:])
    assert np.array_equal(output.logits[output.logits_rows[2]], expected[50:51])


def test_an_int8_cache_is_smaller_and_near(checkpoint: SafetensorsCheckpoint, folder: C3Folder) -> None:
    full, small = (
        run(decoder(checkpoint, ResidentSource(folder), int8_cache=i), TOKENS[:200], [200]) for i in (False, True)
    )
    assert relative_error(small, full) < 0.05
    sizes = []
    for int8 in (False, True):
        cache = NativeCache(checkpoint.config, int8=int8)
        cache.reserve(100)
        sizes.append(cache.resident_bytes)
    assert sizes[1] < 0.65 * sizes[0]


def test_paged_weights_give_the_same_bits(checkpoint: SafetensorsCheckpoint, folder: C3Folder) -> None:
    expected = run(decoder(checkpoint, ResidentSource(folder)), TOKENS[:30], [20, 10])
    pager = Pager(folder, PagerOptions(budget_bytes=300_000, prefetch_depth=1))
    paged = decoder(checkpoint, pager)
    assert np.array_equal(run(paged, TOKENS[:30], [20, 10]), expected)
    paged.close()


def test_loading_and_sweeping_on_a_cpu_never_imports_torch(tmp_path: Path) -> None:
    source = write_safetensors(tmp_path, "qwen3")
    code = f"""
import sys
from pathlib import Path
from vortex.c3.format.folder import C3Folder, C3Writer
from vortex.c3.sources import ResidentSource
from vortex.models.decoder import native_pack
from vortex.models.decoder import opening
from vortex.models.opened import LoadOptions
from vortex.models.decoder.model import Decoder
from vortex.types import Span
checkpoint = opening.open_checkpoint(Path({str(source)!r}))
with C3Writer(Path({str(tmp_path / "x.c3")!r}), {{}}) as writer:
    native_pack.pack(checkpoint, writer)
options = LoadOptions(packed_root=Path({str(tmp_path)!r}), device="cpu")
model = Decoder(checkpoint.config, opening._native_compute(checkpoint.config, C3Folder(writer.path), options))
model.sweep([Span(model.new_state(), [1, 2, 3])])
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_head_the_kernels_cannot_hold_is_refused(checkpoint: SafetensorsCheckpoint, folder: C3Folder) -> None:
    config = dataclasses.replace(checkpoint.config, head_width=24)
    with pytest.raises(UnsupportedModel, match="multiples of 16"):
        NativeCompute(config, ResidentSource(folder))
