"""What a killed maker leaves behind is gone at the next making; what a living one makes is left alone."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from vortex.records.scratch import clear_abandoned, disown, scratch_folder

MAKER = """
import sys
from pathlib import Path
from vortex.records.scratch import scratch_folder
with scratch_folder(Path(sys.argv[1]), "made.partial-") as folder:
    (folder / "weights.bin").write_bytes(bytes(1000))
    print("begun", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def maker(tmp_path: Path):
    process = subprocess.Popen(
        [sys.executable, "-c", MAKER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        yield process
        process.kill()


def test_a_killed_maker_leaves_nothing_for_long(maker, tmp_path: Path) -> None:
    assert clear_abandoned(tmp_path, "made.partial-") == 0
    assert len(list(tmp_path.iterdir())) == 1
    maker.send_signal(signal.SIGKILL)
    maker.wait()
    with scratch_folder(tmp_path, "made.partial-") as folder:
        assert list(tmp_path.iterdir()) == [folder]
    assert list(tmp_path.iterdir()) == []


def test_a_renamed_folder_stays_and_keeps_no_owner(tmp_path: Path) -> None:
    with scratch_folder(tmp_path, "made.partial-") as folder:
        (folder / "content").write_text("whole")
        disown(folder)
        folder.rename(tmp_path / "made")
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["content"]
