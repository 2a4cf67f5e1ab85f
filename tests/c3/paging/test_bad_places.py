"""Places that are bad for packing and paging: a full disk, one without direct reads, a rival, a kill in the middle."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.models.tiny_models import write_safetensors
from vortex.c3.format.folder import C3Folder, C3Writer
from vortex.c3.paging.direct_file import DirectFile
from vortex.c3.paging.options import PagerOptions
from vortex.c3.paging.pager import Pager
from vortex.errors import StorageError
from vortex.kernels import dispatch

PACK = """
import sys
from pathlib import Path
from vortex.c3.format.folder import C3Writer
from vortex.models.decoder.native_pack import pack
from vortex.models.files.safetensors import SafetensorsCheckpoint
checkpoint, path = SafetensorsCheckpoint(Path(sys.argv[1])), Path(sys.argv[2]) / "m.c3"
print("begins", flush=True)
with C3Writer(path, {}) as writer:
    pack(checkpoint, writer)
print(path)
"""
needs_core = pytest.mark.skipif(not dispatch.usable(), reason="the native core was not built here")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """8 MiB of a file system of its own. Needs root."""
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)], check=True)
    yield place
    subprocess.run(["umount", str(place)], check=True)


def write(path: Path, megabytes: int) -> None:
    with C3Writer(path, {}) as writer:
        for index in range(megabytes):
            writer.add(f"layer.{index}.0", "raw", (1 << 20,), np.full(1 << 20, index, np.uint8))


@pytest.mark.root
def test_a_disk_that_is_full_is_one_clear_line_and_leaves_nothing(small_disk: Path) -> None:
    with pytest.raises(StorageError, match=r"m\.c3.*free some space"):
        write(small_disk / "m.c3", 12)
    assert list(small_disk.iterdir()) == []
    write(small_disk / "m.c3", 4)
    C3Folder(small_disk / "m.c3").verify("layer.3.0")


@pytest.mark.root
def test_a_file_system_in_memory_is_paged_like_any_other(small_disk: Path) -> None:
    write(small_disk / "m.c3", 6)
    folder = C3Folder(small_disk / "m.c3")
    with DirectFile(folder.weights_path) as file:
        assert isinstance(file.is_direct, bool)  # kernels since 6.6 read even this one directly
    pager = Pager(folder, PagerOptions(budget_bytes=3 << 20))
    for _ in range(3):
        for index in range(6):
            with pager.lease(f"layer.{index}") as lease:
                assert (lease.views[f"layer.{index}.0"] == index).all()
    pager.close()


@needs_core
@pytest.mark.long
def test_two_processes_that_pack_one_model_both_open_it(tmp_path: Path) -> None:
    source = write_safetensors(tmp_path / "tiny", "llama")
    command = [sys.executable, "-c", PACK, str(source), str(tmp_path / "made")]
    rivals = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    paths = {rival.communicate(timeout=120)[0].splitlines()[-1] for rival in rivals}
    assert [rival.returncode for rival in rivals] == [0, 0]
    assert len(paths) == 1
    assert [str(path) for path in (tmp_path / "made").iterdir()] == list(paths)


@needs_core
@pytest.mark.long
@pytest.mark.parametrize("after_s", [0.0, 0.05, 0.3])
def test_a_pack_killed_at_any_moment_leaves_nothing_that_opens(tmp_path: Path, after_s: float) -> None:
    source = write_safetensors(tmp_path / "tiny", "qwen3_moe")
    command = [sys.executable, "-c", PACK, str(source), str(tmp_path / "made")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begins\n"
    threading.Event().wait(after_s)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    for path in (tmp_path / "made").glob("*.c3"):  # it was done before the signal came
        folder = C3Folder(path)
        for name in folder.entries:
            folder.verify(name)
    again = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert C3Folder(Path(again.stdout.splitlines()[-1])).entries
