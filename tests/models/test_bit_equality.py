"""The matrix: budgets x codecs x what disturbs a reader. The bits are those of resident weights, every time."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import numpy as np
import pytest

from tests.models.tiny_models import write_safetensors
from vortex.c3.format.folder import C3Folder, C3Writer, aligned
from vortex.c3.paging.direct_file import DirectFile
from vortex.c3.paging.expert_pager import ExpertPager
from vortex.c3.paging.options import PagerOptions
from vortex.c3.paging.pager import Pager
from vortex.c3.sources import ResidentSource, WeightSource, expert_unit, units_of
from vortex.kernels import dispatch
from vortex.models.decoder.model import Decoder
from vortex.models.decoder.native_compute import NativeCompute
from vortex.models.decoder.native_pack import pack
from vortex.models.files.safetensors import SafetensorsCheckpoint
from vortex.types import Span, Want

pytestmark = pytest.mark.skipif(not dispatch.usable(), reason="the native core was not built here")
FORMS = [
    ("int4", False),
    *(
        pytest.param(*form, marks=pytest.mark.long)
        for form in (("int8", False), ("int4", True), ("int8", True), ("bf16", False), ("bf16", True), ("mxfp4", False))
    ),
]
ARCHITECTURES = [
    pytest.param(name, marks=() if name in {"qwen3", "gpt_oss"} else pytest.mark.long)
    for name in ("qwen3", "gpt_oss", "gemma3", "qwen3_moe", "mixtral")
]


def logits(checkpoint: SafetensorsCheckpoint, source: WeightSource, threads: int = 2) -> np.ndarray:
    """A prompt in two chunks, a block whose draft is dropped, single tokens."""
    model = Decoder(checkpoint.config, NativeCompute(checkpoint.config, source, threads=threads))
    state, parts = model.new_state(), []
    for ids, kept in ((range(17), 17), (range(40, 49), 9), (range(5), 2), ([7], 1), ([9], 1)):
        parts.append(model.sweep([Span(state, list(ids), Want.ALL_LOGITS)]).logits)
        state.commit(kept)
    state.close()
    return np.concatenate(parts)


def budgets(folder: C3Folder, config_experts: int) -> list[int]:
    """The smallest that works, something between, one byte less than everything, everything."""
    sizes = {unit: sum(aligned(part.num_bytes) for part in parts) for unit, parts in units_of(folder.entries).items()}
    everything = sum(sizes.values())
    if config_experts:
        experts = [size for unit, size in sizes.items() if expert_unit(unit)]
        layers = len({unit.split(".")[1] for unit in sizes if expert_unit(unit)})
        smallest = everything - sum(experts) + max(experts) * layers * int(folder.metadata["experts_per_token"])
    else:
        *body, head = sizes.values()
        smallest = min(2 * max(sizes.values()), 2 * max(body) + head)
    return [smallest, (smallest + everything) // 2, everything - 1, everything]


class Disturbed:
    """The real file, read late, in another order, by chance: tiles arrive as no schedule would have them."""

    def __init__(self, folder: C3Folder, seed: int) -> None:
        self.file = DirectFile(folder.weights_path)
        self._random, self._wait = random.Random(seed), threading.Event()

    def read_into(self, target: memoryview, offset: int) -> None:
        self._wait.wait(self._random.choice((0, 0, 0, 0.0005, 0.003)))
        self.file.read_into(target, offset)


@pytest.mark.parametrize(("form", "compress"), FORMS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_budget_codec_eviction_and_timing(architecture: str, form: str, compress: bool, tmp_path: Path) -> None:
    checkpoint = SafetensorsCheckpoint(write_safetensors(tmp_path / "tiny", architecture))
    metadata = {"experts_per_token": checkpoint.config.experts_per_token}
    with C3Writer(tmp_path / "tiny.c3", metadata, compress=compress) as writer:
        pack(checkpoint, writer, form)
    folder = C3Folder(tmp_path / "tiny.c3")
    expected = logits(checkpoint, ResidentSource(folder))
    pager_kind = ExpertPager if checkpoint.config.num_experts else Pager
    for seed, budget in enumerate(budgets(folder, checkpoint.config.num_experts)):
        disk = Disturbed(folder, seed)
        pager = pager_kind(folder, PagerOptions(budget_bytes=budget), disk.read_into)
        for threads in (1, 2):
            np.testing.assert_array_equal(logits(checkpoint, pager, threads), expected)
        counters = pager.counters()
        assert counters["resident_bytes"] <= budget
        pager.close()
        disk.file.close()
