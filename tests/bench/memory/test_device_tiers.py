"""The device tier on a CPU that plays the device: its bits are the host tier's, whatever is paged and from where."""

from __future__ import annotations

import errno
import mmap
from pathlib import Path

import numpy as np
import pytest

from vortex.bench.memory.device_tiers import (
    SMALL,
    SMALL_WITH_EXPERTS,
    compare_tiers,
    device_source,
    logits_of,
    pack_random,
    smallest_budget,
    unit_bytes,
)
from vortex.c3.format.folder import aligned
from vortex.c3.paging.direct_file import DirectFile
from vortex.c3.paging.expert_pager import ExpertPager
from vortex.c3.paging.host_tier import host_tier
from vortex.c3.paging.options import PagerOptions
from vortex.c3.paging.pager import Pager
from vortex.c3.paging.tile_memory import Staging
from vortex.c3.sources import ResidentSource, WeightSource
from vortex.c3.torch.device_memory import DeviceMemory
from vortex.errors import StorageError
from vortex.models.decoder.model import Decoder
from vortex.models.decoder.reference_compute import ReferenceCompute
from vortex.models.decoder.torch_compute import TorchCompute
from vortex.models.files.decoder_config import DecoderConfig
from vortex.models.files.random_checkpoint import RandomCheckpoint

CONFIGS = pytest.mark.parametrize(
    "config",
    [pytest.param(SMALL, id="dense"), pytest.param(SMALL_WITH_EXPERTS, id="experts", marks=pytest.mark.long)],
)


def logits(config: DecoderConfig, source: WeightSource) -> np.ndarray:
    return logits_of(Decoder(config, TorchCompute(config, source)))


@CONFIGS
def test_the_tiers_agree(config: DecoderConfig, tmp_path: Path) -> None:
    agreement = compare_tiers("cpu", config, tmp_path / "m.c3")
    assert agreement.same_bits
    assert agreement.cpu_difference == 0  # this device is a CPU
    assert agreement.uploaded_bytes > 0
    oracle = logits_of(Decoder(config, ReferenceCompute(RandomCheckpoint(config))))
    ours = logits(config, ResidentSource(pack_random(config, tmp_path / "again.c3")))
    assert np.sqrt(np.mean((ours - oracle) ** 2) / np.mean(oracle**2)) < 0.05


@CONFIGS
@pytest.mark.parametrize("compress", [False, pytest.param(True, marks=pytest.mark.long)])
@pytest.mark.long
def test_every_budget_and_codec_gives_the_host_tiers_bits(
    config: DecoderConfig, compress: bool, tmp_path: Path
) -> None:
    folder = pack_random(config, tmp_path / "m.c3", compress=compress)
    smallest, everything = smallest_budget(folder), sum(unit_bytes(folder).values())
    options = PagerOptions(budget_bytes=smallest)
    on_host = (ExpertPager if config.num_experts else Pager)(folder, options)
    expected = logits(config, on_host)
    assert on_host.counters()["bytes_h2d"] == 0
    for budget in (smallest, (smallest + everything) // 2, everything):
        source = device_source(folder, "cpu", budget)
        for _ in range(2):
            np.testing.assert_array_equal(logits(config, source), expected)
        counters = source.counters()
        assert counters["resident_bytes"] <= budget
        assert counters["bytes_h2d"] >= counters["bytes_compressed_read"] > 0 or budget == everything
        source.close()


@CONFIGS
def test_what_the_host_keeps_is_read_from_the_disk_once(config: DecoderConfig, tmp_path: Path) -> None:
    folder = pack_random(config, tmp_path / "m.c3")
    everything = sum(unit_bytes(folder).values())
    pager = ExpertPager if config.num_experts else Pager
    with DirectFile(folder.weights_path) as file:
        read, failing = 0, False

        def disk(target: memoryview, offset: int) -> None:
            nonlocal read
            if failing:
                raise OSError(errno.EIO, "Input/output error")
            read += len(target)
            file.read_into(target, offset)

        options = PagerOptions(budget_bytes=smallest_budget(folder), host_bytes=everything)
        source = pager(folder, options, disk, DeviceMemory("cpu"))
        expected = logits(config, source)
        after_one = read
        np.testing.assert_array_equal(logits(config, source), expected)
        if not config.num_experts:  # which experts are wanted may differ, what is kept may not
            assert read == after_one
        uploaded = source.counters()["bytes_h2d"]
        assert uploaded > after_one > 0
        source.close()

        # a copy that fails its check is forgotten: the disk is asked again
        failing = True
        tier = host_tier(disk, [list(folder.entries.values())], everything * 2, DeviceMemory("cpu"))
        with pytest.raises(OSError, match="Input/output"):
            tier.read_into(memoryview(bytearray(4096)), folder.entries["final_norm"].offset)


class WithoutPageLocks(DeviceMemory):
    def page_locked(self, num_bytes: int) -> Staging | None:
        return None


@pytest.mark.parametrize("memory", [DeviceMemory, WithoutPageLocks])
def test_kept_bytes_go_to_the_device_as_they_lie_once_checked(memory: type[DeviceMemory], tmp_path: Path) -> None:
    """Dense: the same bits, with nothing read twice, whether the driver gives page-locked memory or not."""
    folder = pack_random(SMALL, tmp_path / "m.c3")
    options = PagerOptions(budget_bytes=smallest_budget(folder), host_bytes=sum(unit_bytes(folder).values()))
    expected = logits(SMALL, Pager(folder, options))
    staged: list[int] = []

    class Seen(memory):  # type: ignore[misc,valid-type]
        def reuse(self, staging: Staging) -> None:
            staged.append(1)
            super().reuse(staging)

    source = Pager(folder, options, memory=Seen("cpu"))
    for _ in range(2):
        np.testing.assert_array_equal(logits(SMALL, source), expected)
    used = len(staged)
    np.testing.assert_array_equal(logits(SMALL, source), expected)
    assert (len(staged) == used) == (memory is DeviceMemory), "no buffer in between"
    source.close()


def test_page_locked_memory_has_a_cap_and_forgets(tmp_path: Path) -> None:
    folder = pack_random(SMALL, tmp_path / "m.c3")
    entries = [entry for entry in folder.entries.values() if entry.num_bytes > 4096][:2]
    sizes = [aligned(entry.num_bytes) for entry in entries]
    memory = DeviceMemory("cpu")
    with DirectFile(folder.weights_path) as file:
        tier = host_tier(file.read_into, [[entry] for entry in entries], sum(sizes), memory, locked_bytes=sizes[0])
        for entry, size in zip(entries, sizes, strict=True):
            tier.passed_check(entry.offset, size)
            assert tier.checked_bytes(entry.offset, size) is None, "nothing was read yet"
            tier.read_into(memoryview(mmap.mmap(-1, size)), entry.offset)
            assert tier.checked_bytes(entry.offset, size) is None, "it was not checked yet"
            tier.passed_check(entry.offset, size)
        kept = tier.checked_bytes(entries[0].offset, sizes[0])
        assert kept is not None
        np.testing.assert_array_equal(kept.bytes[: entries[0].num_bytes], folder.read(entries[0].name))
        assert tier.checked_bytes(entries[1].offset, sizes[1]) is None, "beyond the cap memory is ordinary"
        tier.forget()
        assert tier.checked_bytes(entries[0].offset, sizes[0]) is None


def test_a_failing_disk_is_named_and_the_next_sweep_is_right(tmp_path: Path) -> None:
    folder, failing = pack_random(SMALL, tmp_path / "m.c3"), set()
    with DirectFile(folder.weights_path) as file:

        def disk(target: memoryview, offset: int) -> None:
            if offset in failing:
                raise OSError(errno.EIO, "Input/output error")
            file.read_into(target, offset)

        options = PagerOptions(budget_bytes=smallest_budget(folder), host_bytes=150_000)
        source = Pager(folder, options, disk, DeviceMemory("cpu"))
        expected = logits(SMALL, source)
        failing.update(entry.offset for entry in folder.entries.values())
        with pytest.raises(StorageError, match=r"tile 1 of 1 of layers\.\d\."):
            for _ in range(2):
                logits(SMALL, source)
        failing.clear()
        np.testing.assert_array_equal(logits(SMALL, source), expected)
        source.close()
