"""Ways round the gate, each refused with its reason; promotion, rollback, and kill -9 in the middle of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.learn.candidates_made import GOOD, hash_of, make_run, promotion
from vortex.adapters.bank import AdapterBank
from vortex.adapters.promoted_here import PromotedHere
from vortex.adapters.reading import read_adapter
from vortex.errors import AdapterError, CandidateRefused, RequestError
from vortex.learn.candidates.manifest import APPROVAL_FILE, read_manifest
from vortex.learn.candidates.promotion import Seen
from vortex.learn.candidates.runs import Runs


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path / "continuous")


def approve(runs: Runs, run_id: str) -> None:
    folder = runs.folder(run_id)
    (folder / APPROVAL_FILE).write_text(read_manifest(folder).hash + "\n")


def change(path: Path, act: Callable[[Path], object]) -> None:
    path.chmod(0o600)
    act(path)


def test_a_person_approves_promotes_and_takes_back(runs: Runs) -> None:
    first, second = make_run(runs), make_run(runs, seed=1)
    assert [state.state for state in runs.states()] == ["quarantine", "quarantine"]
    approve(runs, first)
    assert runs.state(first).state == "approved"
    assert promotion(runs).promote(first).before == "base"
    assert runs.state(first).state == "current"
    pointer = runs.current("tiny").read()
    assert pointer is not None
    assert pointer.hash == hash_of(pointer.folder, "tiny")
    approve(runs, second)
    assert promotion(runs).promote(second).before == first
    assert runs.state(first).state == "promoted"
    assert promotion(runs).rollback("tiny").run_id == first
    assert runs.current("tiny").read() == pointer
    assert promotion(runs).rollback("tiny").run_id == "base"
    assert runs.current("tiny").read() is None
    with pytest.raises(RequestError, match="answers alone already"):
        promotion(runs).rollback("tiny")
    assert promotion(runs).rollback("tiny", second).run_id == second
    events = [line["event"] for line in runs.journal.entries()]
    assert events == ["candidate", "candidate", "promote", "promote", "rollback", "rollback", "rollback"]


def edit_report(runs: Runs, run_id: str) -> None:
    change(runs.folder(run_id) / "evaluation.json", lambda path: path.write_text(path.read_text() + " "))


def swap_adapter(runs: Runs, run_id: str) -> None:
    other = runs.folder(make_run(runs, seed=9)) / "adapter" / "adapter_model.safetensors"
    change(
        runs.folder(run_id) / "adapter" / "adapter_model.safetensors", lambda path: path.write_bytes(other.read_bytes())
    )


def edit_data(runs: Runs, run_id: str) -> None:
    change(runs.folder(run_id) / "data.jsonl", lambda path: path.write_text("{}\n"))


def edit_manifest(runs: Runs, run_id: str) -> None:
    change(
        runs.folder(run_id) / "manifest.json",
        lambda path: path.write_text(path.read_text().replace('"created": "now"', '"created": "then"')),
    )


def approve_another(runs: Runs, run_id: str) -> None:
    other = read_manifest(runs.folder(make_run(runs, seed=3))).hash
    (runs.folder(run_id) / APPROVAL_FILE).write_text(other)


def approve_by_a_word(runs: Runs, run_id: str) -> None:
    (runs.folder(run_id) / APPROVAL_FILE).write_text("yes")


def approve_by_nothing(runs: Runs, run_id: str) -> None:
    (runs.folder(run_id) / APPROVAL_FILE).write_text("")


def link_approval(runs: Runs, run_id: str) -> None:
    file = runs.folder(run_id) / APPROVAL_FILE
    file.rename(runs.root / "elsewhere.txt")
    file.symlink_to(runs.root / "elsewhere.txt")


def link_adapter(runs: Runs, run_id: str) -> None:
    file = runs.folder(run_id) / "adapter" / "adapter_model.safetensors"
    file.rename(runs.root / "elsewhere.safetensors")
    file.symlink_to(runs.root / "elsewhere.safetensors")


def add_pickle(runs: Runs, run_id: str) -> None:
    (runs.folder(run_id) / "adapter" / "adapter_model.bin").write_bytes(b"\x80\x04.")


def add_file(runs: Runs, run_id: str) -> None:
    (runs.folder(run_id) / "adapter" / "notes.txt").write_text("hello")


def remove_report(runs: Runs, run_id: str) -> None:
    (runs.folder(run_id) / "evaluation.json").unlink()


def rename_run(runs: Runs, run_id: str) -> None:
    other = make_run(runs, seed=4)
    folder = runs.folder(run_id)
    folder.rename(runs.root / "aside")
    runs.folder(other).rename(folder)
    approve(runs, run_id)


def reject(runs: Runs, run_id: str) -> None:
    promotion(runs).reject(run_id, "the answers became rude")


WAYS: list[tuple[Callable[[Runs, str], None], str]] = [
    (edit_report, "evaluation.json was changed after the run was sealed"),
    (swap_adapter, "safetensors was changed after the run was sealed"),
    (edit_data, "data.jsonl was changed after the run was sealed"),
    (edit_manifest, "approves another candidate"),
    (approve_another, "approves another candidate"),
    (approve_by_a_word, "holds no hash"),
    (approve_by_nothing, "is empty"),
    (link_approval, "symbolic link"),
    (link_adapter, "symbolic link"),
    (add_pickle, "is a pickle"),
    (add_file, "is not part of the run"),
    (remove_report, "lacks evaluation.json"),
    (rename_run, "a run keeps its folder"),
    (reject, "was rejected"),
]


@pytest.mark.parametrize(("way", "reason"), WAYS, ids=[way.__name__ for way, _ in WAYS])
def test_ways_round_the_gate(runs: Runs, way: Callable[[Runs, str], None], reason: str) -> None:
    run_id = make_run(runs)
    approve(runs, run_id)
    way(runs, run_id)
    with pytest.raises(CandidateRefused, match=reason):
        promotion(runs).promote(run_id)
    assert runs.current("tiny").read() is None
    assert not list(runs.promoted.glob("*"))


@pytest.mark.parametrize("name", ["../promoted", "/etc", "", "20260101-000000-abcdef", "."])
def test_a_run_is_named_by_its_id_alone(runs: Runs, name: str) -> None:
    make_run(runs)
    with pytest.raises(RequestError, match="no run"):
        promotion(runs).promote(name)


def test_without_an_approval_nothing_is_promoted_and_the_hash_is_told(runs: Runs) -> None:
    run_id = make_run(runs)
    with pytest.raises(CandidateRefused, match=read_manifest(runs.folder(run_id)).hash):
        promotion(runs).promote(run_id)


@pytest.mark.parametrize("broken", sorted(GOOD))
def test_a_closed_gate_and_one_that_was_not_measured_refuse(runs: Runs, broken: str) -> None:
    for measured, reason in (
        ({**GOOD, broken: (None, "no text")}, f"{broken} could not be measured"),
        ({name: value for name, value in GOOD.items() if name != broken}, f"{broken} could not be measured"),
        ({**GOOD, broken: (float("nan"), "")}, broken),
    ):
        run_id = make_run(runs, measured=measured)
        approve(runs, run_id)
        with pytest.raises(CandidateRefused, match=reason):
            promotion(runs).promote(run_id)


def test_an_empty_approval_counts_where_the_settings_say_so(runs: Runs) -> None:
    run_id = make_run(runs)
    (runs.folder(run_id) / APPROVAL_FILE).touch()
    assert promotion(runs, presence=True).promote(run_id).run_id == run_id


def test_powershells_utf16_is_read(runs: Runs) -> None:
    run_id = make_run(runs)
    folder = runs.folder(run_id)
    (folder / APPROVAL_FILE).write_bytes((read_manifest(folder).hash + "\r\n").encode("utf-16"))
    assert promotion(runs).promote(run_id).run_id == run_id


def test_a_promoted_folder_edited_afterwards_is_neither_served_nor_gone_back_to(runs: Runs, tmp_path: Path) -> None:
    from tests.learn.candidates_made import TARGETS

    first, second = make_run(runs), make_run(runs, seed=1)
    for run_id in (first, second):
        approve(runs, run_id)
        promotion(runs).promote(run_id)
    other = runs.folder(make_run(runs, seed=2)) / "adapter" / "adapter_model.safetensors"
    for run_id in (first, second):
        kept = runs.promoted / run_id / "adapter" / "adapter_model.safetensors"
        change(kept, lambda path: path.write_bytes(other.read_bytes()))
    pointer = runs.current("tiny").read()
    assert pointer is not None
    bank = AdapterBank(lambda folder, limit: read_adapter(folder, TARGETS, limit), 1 << 20)
    with pytest.raises(AdapterError, match="was changed since"):
        bank.lease(pointer.folder, pointer.hash)
    with pytest.raises(CandidateRefused, match="was changed after the run was sealed"):
        promotion(runs).rollback("tiny", first)


KILLED = """
import os, sys
from pathlib import Path
from tests.learn.candidates_made import promotion
from vortex.learn.candidates.runs import Runs
left = int(sys.argv[3])
def hook(event, arguments):
    global left
    if event in {"os.rename", "os.remove", "os.mkdir", "os.chmod", "os.rmdir"} or (
        event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)):
        left -= 1
        if left < 0:
            os.kill(os.getpid(), 9)
runs = Runs(Path(sys.argv[1]))
sys.addaudithook(hook)
promotion(runs).promote(sys.argv[2])
print("done")
"""


@pytest.mark.long
def test_kill_9_at_every_change_on_disk_leaves_the_old_or_the_new(runs: Runs) -> None:
    """Killed before the first change to the disk, before the second, … until a promotion gets through."""
    first, second = make_run(runs), make_run(runs, seed=1)
    approve(runs, first)
    promotion(runs).promote(first)
    approve(runs, second)
    root = str(Path(__file__).parent.parent.parent)
    for left in range(0, 150, 3):
        ended = subprocess.run(
            [sys.executable, "-c", KILLED, str(runs.root), second, str(left)],
            check=False, cwd=root, env={**os.environ, "PYTHONPATH": root}, capture_output=True, text=True,
        )  # fmt: skip
        pointer = runs.current("tiny").read()
        assert pointer is not None
        assert pointer.run_id in {first, second}
        assert pointer.hash == hash_of(pointer.folder, "tiny")
        if ended.returncode == 0:
            break
        assert ended.returncode == -9, ended.stderr
    assert "done" in ended.stdout
    assert pointer.run_id == second
    assert left > 10
    assert promotion(runs).rollback("tiny").run_id == first
    assert [json.dumps(line) for line in runs.journal.entries() if line["event"] == "promote"]


def test_what_learnt_from_the_web_needs_a_persons_hash(runs: Runs) -> None:
    run_id = make_run(runs, sources=("feedback", "web"))
    (runs.folder(run_id) / APPROVAL_FILE).write_text("")  # what a program that approves by itself would leave
    with pytest.raises(CandidateRefused, match="learnt from web pages"):
        promotion(runs, presence=True).promote(run_id)
    assert runs.current("tiny").read() is None
    approve(runs, run_id)
    assert promotion(runs, presence=True).promote(run_id).run_id == run_id


def test_what_came_with_a_strangers_folder_is_not_gone_back_to_and_its_pointer_can_be_removed(tmp_path: Path) -> None:
    theirs = Runs(tmp_path / "continuous")
    run_id = make_run(theirs)
    approve(theirs, run_id)
    promotion(theirs).promote(run_id)
    mine = Runs(theirs.root, PromotedHere(tmp_path / "home" / "promoted.jsonl"))
    assert mine.state(run_id).state == "promoted"
    assert mine.answering("tiny") is None
    with pytest.raises(CandidateRefused, match="you never promoted"):
        promotion(mine).rollback("tiny", run_id)
    assert promotion(mine).rollback("tiny").run_id == "base"
    assert not mine.current("tiny").file.exists()
    assert promotion(mine).promote(run_id).before == "base"
    assert mine.state(run_id).state == "current"


def test_an_approval_that_came_with_a_strangers_folder_is_none(tmp_path: Path) -> None:
    theirs = Runs(tmp_path / "continuous")
    run_id = make_run(theirs)
    approve(theirs, run_id)
    mine = Runs(theirs.root, own=PromotedHere(tmp_path / "home" / "candidates.jsonl"))
    assert mine.state(run_id).state == "quarantine"
    with pytest.raises(CandidateRefused, match="neither trained nor approved by you"):
        promotion(mine).promote(run_id)
    promotion(mine).approve(run_id, Seen(mine.state(run_id).hash))
    assert mine.state(run_id).state == "approved"
    assert promotion(mine).promote(run_id).run_id == run_id


def test_what_was_promoted_twice_is_gone_back_from_to_what_was_before_it(runs: Runs) -> None:
    first, second = make_run(runs), make_run(runs)
    for run_id in (first, second):
        approve(runs, run_id)
        promotion(runs).promote(run_id)
    promotion(runs).promote(second)
    assert promotion(runs).rollback("tiny").run_id == first


def test_what_was_exchanged_since_it_was_seen_is_not_promoted(runs: Runs) -> None:
    run_id = make_run(runs)
    approve(runs, run_id)
    with pytest.raises(CandidateRefused, match="another candidate than the one you saw"):
        promotion(runs).promote(run_id, Seen("0" * 64, "approved"))
    assert runs.current("tiny").read() is None
