"""Paged weights against resident ones: the same bits for every budget, form, order of sweeps, and after failures."""

from __future__ import annotations

import errno
import threading
from pathlib import Path

import numpy as np
import pytest

from tests.models.tiny_models import write_safetensors
from vortex.c3.format.folder import C3Folder, C3Writer, aligned
from vortex.c3.paging.direct_file import DirectFile
from vortex.c3.paging.options import PagerOptions
from vortex.c3.paging.pager import Pager
from vortex.c3.sources import ResidentSource, units_of
from vortex.errors import ConfigError, ModelFileError, StorageError
from vortex.models.decoder.model import Decoder
from vortex.models.files.safetensors import SafetensorsCheckpoint
from vortex.types import Span, Want


def packed(tmp_path: Path, form: str, compress: bool) -> tuple[SafetensorsCheckpoint, C3Folder]:
    from vortex.models.decoder.torch_pack import pack

    checkpoint = SafetensorsCheckpoint(write_safetensors(tmp_path / "tiny", "qwen3"))
    with C3Writer(tmp_path / "tiny.c3", {}, compress=compress) as writer:
        pack(checkpoint, writer, form)
    return checkpoint, C3Folder(tmp_path / "tiny.c3")


def decoder(checkpoint: SafetensorsCheckpoint, source: ResidentSource | Pager) -> Decoder:
    from vortex.models.decoder.torch_compute import TorchCompute

    return Decoder(checkpoint.config, TorchCompute(checkpoint.config, source))


def logits(model: Decoder) -> np.ndarray:
    """A prompt in two chunks (the first wants nothing, so the head is skipped), a block, single tokens."""
    state, parts = model.new_state(), []
    for ids, want in (
        (range(20), Want.NOTHING),
        (range(5), Want.ALL_LOGITS),
        ([7], Want.LAST_LOGITS),
        ([9], Want.LAST_LOGITS),
    ):
        parts.append(model.sweep([Span(state, list(ids), want)]).logits)
        state.commit(len(ids))
    state.close()
    return np.concatenate(parts)


def unit_bytes(folder: C3Folder) -> list[int]:
    return [sum(aligned(entry.num_bytes) for entry in parts) for parts in units_of(folder.entries).values()]


@pytest.mark.parametrize(
    ("form", "compress"),
    [
        ("int4", False),
        ("bf16", True),
        *(
            pytest.param(*pair, marks=pytest.mark.long)
            for pair in (("int4", True), ("int8", False), ("int8", True), ("bf16", False))
        ),
    ],
)
def test_every_budget_gives_the_same_bits(tmp_path: Path, form: str, compress: bool) -> None:
    checkpoint, folder = packed(tmp_path, form, compress)
    sizes = unit_bytes(folder)
    expected = logits(decoder(checkpoint, ResidentSource(folder)))
    for budget in (2 * max(sizes), 2 * max(sizes[:-1]) + sizes[-1], sum(sizes) * 2 // 3, sum(sizes) - 1, sum(sizes)):
        model = decoder(checkpoint, pager := Pager(folder, PagerOptions(budget_bytes=budget)))
        for _ in range(2):
            np.testing.assert_array_equal(logits(model), expected)
        counters = model.counters()
        assert counters["resident_bytes"] <= budget
        assert (pager.bytes_to_fetch == 0) == (budget == sum(sizes)) == (counters["bytes_compressed_read"] == 0)
        assert model.sweep_cost([Span(model.new_state(), [1])]).bytes_to_fetch == pager.bytes_to_fetch
        model.close()


def test_a_budget_too_small_names_the_smallest_that_works(tmp_path: Path) -> None:
    _, folder = packed(tmp_path, "int8", False)
    with pytest.raises(ConfigError, match="the smallest that works is"):
        Pager(folder, PagerOptions(budget_bytes=10_000))
    sizes = unit_bytes(folder)
    smallest = min(2 * max(sizes), 2 * max(sizes[:-1]) + sizes[-1])
    Pager(folder, PagerOptions(budget_bytes=smallest)).close()
    with pytest.raises(ConfigError):
        Pager(folder, PagerOptions(budget_bytes=smallest - 1))


def test_what_others_upload_from_host_memory_is_counted(tmp_path: Path) -> None:
    """c3/torch/paged_linear.py copies leased weights to a GPU itself."""
    _, folder = packed(tmp_path, "int8", False)
    pager = Pager(folder, PagerOptions(budget_bytes=sum(unit_bytes(folder))))
    pager.stats.bytes_h2d += 7
    assert pager.counters()["bytes_h2d"] == 7
    pager.close()


class Disk:
    """The real file, until it is told to fail or to hang at an offset."""

    def __init__(self, folder: C3Folder) -> None:
        self.file = DirectFile(folder.weights_path)
        self.failing: set[int] = set()
        self.stalled: set[int] = set()
        self.repaired = threading.Event()

    def read_into(self, target: memoryview, offset: int) -> None:
        if offset in self.failing:
            raise OSError(errno.EIO, "Input/output error")
        if offset in self.stalled:
            self.repaired.wait(20)
        self.file.read_into(target, offset)


@pytest.mark.parametrize("damage", ["I/O error", "stall"])
def test_a_failing_disk_ends_the_sweep_and_names_the_tile(tmp_path: Path, damage: str) -> None:
    checkpoint, folder = packed(tmp_path, "int8", False)
    disk = Disk(folder)
    options = PagerOptions(budget_bytes=2 * max(unit_bytes(folder)), stall_timeout_s=0.3)
    pager = Pager(folder, options, read_into=disk.read_into)
    model = decoder(checkpoint, pager)
    expected = logits(model)
    (disk.failing if damage == "I/O error" else disk.stalled).add(folder.entries["layers.1.down.0"].offset)
    with pytest.raises(StorageError, match=r"tile 1 of 1 of layers\.1\.down\.0"):
        for _ in range(2):  # the tile may have been read ahead before the disk failed
            logits(model)
    disk.failing.clear()
    disk.stalled.clear()
    disk.repaired.set()
    np.testing.assert_array_equal(logits(model), expected)


@pytest.mark.parametrize("damage", ["flipped byte", "truncated"])
def test_damage_on_disk_is_never_a_wrong_token(tmp_path: Path, damage: str) -> None:
    checkpoint, folder = packed(tmp_path, "int8", False)
    budget = 2 * max(unit_bytes(folder))
    model = decoder(checkpoint, Pager(folder, PagerOptions(budget_bytes=budget)))
    logits(model)
    offset = folder.entries["layers.2.gate_up.0"].offset
    with folder.weights_path.open("r+b") as file:
        if damage == "truncated":
            file.truncate(offset)
        else:
            file.seek(offset + 5)
            byte = file.read(1)[0]
            file.seek(offset + 5)
            file.write(bytes([byte ^ 4]))
    error = StorageError if damage == "truncated" else ModelFileError
    with pytest.raises(error, match=r"tile 1 of 1 of layers\.2\.gate_up\.0"):
        for _ in range(2):
            logits(model)
