"""A disk that fills at any point of a training, an ingestion or a promotion: one line, and nothing half-written."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.learn.candidates_made import make_run, promotion
from tests.learn.test_making import ROW, plan, pupil  # noqa: F401  a fixture
from vortex.errors import StorageError
from vortex.learn.candidates.making import Making, Pupil
from vortex.learn.candidates.manifest import APPROVAL_FILE, read_manifest, verify
from vortex.learn.candidates.runs import Runs
from vortex.learn.material.rows import Row
from vortex.learn.material.store import RowStore

pytestmark = [pytest.mark.root, pytest.mark.long]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """1 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], check=True)
    yield place
    subprocess.run(["umount", str(place)], check=True)


def fill(disk: Path, left_bytes: int) -> Path:
    """All of the disk but some bytes."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
    with ballast.open("r+b") as file:
        file.truncate(max(0, ballast.stat().st_size - left_bytes))
    return ballast


def refusal(act: Callable[[], object]) -> str:
    """The one line of a StorageError, or nothing."""
    try:
        act()
    except StorageError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("left_kb", [0, 8, 24, 64, 160, 320])
def test_a_training_on_a_disk_that_fills_leaves_nothing_half_written(
    small_disk: Path,
    pupil: Pupil,  # noqa: F811
    left_kb: int,
) -> None:
    runs = Runs(small_disk / "continuous")
    ballast = fill(small_disk, left_kb << 10)
    making = Making(runs, pupil, plan(steps=6, save_every=2), lambda _: None)
    failed = refusal(lambda: making.make([ROW]))
    if left_kb < 64:
        assert "free some space" in failed
    if failed:
        assert runs.ids() == []
        ballast.unlink()
        assert refusal(lambda: making.make([ROW])) == ""
    (run_id,) = runs.ids()
    verify(runs.folder(run_id))


@pytest.mark.parametrize("left_kb", [0, 4, 8, 16])
def test_a_promotion_on_a_full_disk_changes_nothing(small_disk: Path, left_kb: int) -> None:
    runs = Runs(small_disk / "continuous")
    first, second = make_run(runs), make_run(runs, seed=1)
    for run_id in (first, second):
        folder = runs.folder(run_id)
        (folder / APPROVAL_FILE).write_text(read_manifest(folder).hash)
    promotion(runs).promote(first)
    before = runs.answering("tiny")
    ballast = fill(small_disk, left_kb << 10)
    failed = refusal(lambda: promotion(runs).promote(second))
    assert "free some space" in failed or left_kb
    if failed:
        assert runs.answering("tiny") == before
        ballast.unlink()
        promotion(runs).promote(second)
    pointer = runs.answering("tiny")
    assert pointer is not None
    assert pointer.run_id == second


def test_an_ingestion_on_a_disk_that_fills_goes_on_afterwards(small_disk: Path) -> None:
    rows = [Row(question=f"Who is {n}?", statement=f"{n} is Ann.", source="file", origin=f"a:{n}") for n in range(2000)]
    store = RowStore(small_disk / "continuous")
    ballast = fill(small_disk, 64 << 10)
    with pytest.raises(StorageError, match="free some space"):
        store.add(rows)
    some = len(store.rows())
    assert 0 < some < len(rows)
    ballast.unlink()
    assert store.add(rows).known == some
    assert len(store.rows()) == len(rows)
