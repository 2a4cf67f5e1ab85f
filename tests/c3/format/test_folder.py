"""The `.c3` folder: what goes in comes out, and nothing half-written is ever found."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from vortex.c3.format.folder import INDEX, WEIGHTS, C3Folder, C3Writer
from vortex.errors import ModelFileError, StorageError


def write(path: Path) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    arrays = {f"t{i}": rng.integers(0, 256, size, dtype=np.uint8) for i, size in enumerate((1, 4096, 5000, 7))}
    with C3Writer(path, {"note": "x"}) as writer:
        for name, array in arrays.items():
            writer.add(name, "raw", array.shape, array)
    return arrays


def test_round_trip_and_alignment(tmp_path: Path) -> None:
    arrays = write(tmp_path / "m.c3")
    folder = C3Folder(tmp_path / "m.c3")
    assert folder.metadata == {"note": "x"}
    for name, array in arrays.items():
        np.testing.assert_array_equal(folder.read(name), array)
        assert folder.entries[name].offset % 4096 == 0
        folder.verify(name)
    assert not folder.read("t1").flags.writeable


def test_an_error_while_packing_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), C3Writer(tmp_path / "m.c3", {}) as writer:
        writer.add("a", "raw", (3,), np.zeros(3, np.uint8))
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_flipped_byte_is_found_by_name(tmp_path: Path) -> None:
    write(tmp_path / "m.c3")
    weights = tmp_path / "m.c3" / WEIGHTS
    data = bytearray(weights.read_bytes())
    data[4096 + 17] ^= 1
    weights.write_bytes(data)
    folder = C3Folder(tmp_path / "m.c3")
    folder.verify("t0")
    with pytest.raises(ModelFileError, match="tile 1 of 1 of t1 fails its checksum"):
        folder.verify("t1")


@pytest.mark.parametrize("damage", ["truncate", "no index", "foreign index", "newer"])
def test_a_damaged_folder_is_one_clear_error(tmp_path: Path, damage: str) -> None:
    write(tmp_path / "m.c3")
    index, weights = tmp_path / "m.c3" / INDEX, tmp_path / "m.c3" / WEIGHTS
    if damage == "truncate":
        os.truncate(weights, 9000)
    elif damage == "no index":
        index.unlink()
    elif damage == "foreign index":
        index.write_text("[]")
    else:
        index.write_text(index.read_text().replace('"version": 2', '"version": 3'))
    with pytest.raises(ModelFileError, match=r"m\.c3.*delete"):
        C3Folder(tmp_path / "m.c3")


def test_two_writers_of_one_folder_both_succeed(tmp_path: Path) -> None:
    path = tmp_path / "m.c3"
    with C3Writer(path, {"who": 1}) as slow:
        slow.add("a", "raw", (1,), np.zeros(1, np.uint8))
        with C3Writer(path, {"who": 2}) as fast:
            fast.add("a", "raw", (1,), np.ones(1, np.uint8))
    assert C3Folder(path).metadata == {"who": 2}
    assert [entry.name for entry in tmp_path.iterdir()] == ["m.c3"]


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="VORTEX_HOME"), C3Writer(tmp_path / "file" / "m.c3", {}):
        pass


def test_killed_while_packing_leaves_no_folder_that_opens(tmp_path: Path) -> None:
    code = (
        "import sys, time, numpy as np; from pathlib import Path; from vortex.c3.format.folder import C3Writer\n"
        "with C3Writer(Path(sys.argv[1]), {}) as writer:\n"
        "    writer.add('a', 'raw', (9000,), np.zeros(9000, np.uint8)); print('packing', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "m.c3")], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "packing\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    time.sleep(0)
    assert not (tmp_path / "m.c3").exists()


def test_nobody_changes_what_an_open_folder_holds(tmp_path: Path) -> None:
    write(tmp_path / "m.c3")
    folder = C3Folder(tmp_path / "m.c3")
    with pytest.raises(AttributeError):
        folder.entries = {}  # type: ignore[misc] # that is the point
    with pytest.raises(TypeError):
        folder.entries["t0"] = folder.entries["t1"]  # type: ignore[index] # likewise
