"""Files that must not be lost: atomic writes, JSON lines, locks, each against real processes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vortex.records.atomic import atomic_write
from vortex.records.jsonl import append_jsonl, read_jsonl
from vortex.records.lock import FileLock


class Interrupted(Exception):
    pass


def test_a_write_is_whole_or_absent(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "file"
    with pytest.raises(Interrupted), atomic_write(target) as file:
        file.write(b"half")
        raise Interrupted
    assert list(target.parent.iterdir()) == []
    with atomic_write(target) as file:
        file.write(b"old")
        assert not target.exists()
    target.chmod(0o640)
    with pytest.raises(Interrupted), atomic_write(target) as file:
        file.write(b"new")
        raise Interrupted
    assert target.read_bytes() == b"old"
    with atomic_write(target) as file:
        file.write(b"new")
    assert target.read_bytes() == b"new"
    assert target.stat().st_mode & 0o777 == 0o640
    assert list(target.parent.iterdir()) == [target]


@settings(max_examples=30)
@given(records=st.lists(st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text()), max_size=4))
def test_records_come_back_in_order(tmp_path_factory: pytest.TempPathFactory, records: list[dict[str, object]]) -> None:
    file = tmp_path_factory.mktemp("jsonl") / "log.jsonl"
    for record in records:
        append_jsonl(file, json.loads(json.dumps(record)), durable=False)
    assert list(read_jsonl(file)) == records


def test_a_torn_line_hides_no_other(tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl"
    append_jsonl(file, {"n": 1})
    with file.open("ab") as torn:
        torn.write(b'{"n": 2, "te')
    append_jsonl(file, {"n": 3})
    with file.open("ab") as torn:
        torn.write(b"\xff\xfe\n[4]\n")
    append_jsonl(file, {"n": 5})
    assert [record["n"] for record in read_jsonl(file)] == [1, 3, 5]


def test_processes_do_not_mix_their_lines(tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl"
    code = (
        "import sys; from pathlib import Path; from vortex.records.jsonl import append_jsonl\n"
        "file, who = Path(sys.argv[1]), sys.argv[2]\n"
        "for n in range(60): append_jsonl(file, {'who': who, 'n': n, 'pad': 'x' * 5000}, durable=False)"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(file), who]) for who in "ab"]
    assert [writer.wait(30) for writer in writers] == [0, 0]
    records = list(read_jsonl(file))
    assert [r["n"] for r in records if r["who"] == "a"] == list(range(60))
    assert [r["n"] for r in records if r["who"] == "b"] == list(range(60))


def test_a_lock_admits_one_at_a_time_and_dies_with_its_process(tmp_path: Path) -> None:
    file = tmp_path / "locks" / "x.lock"
    code = (
        "import sys, time; from pathlib import Path; from vortex.records.lock import FileLock\n"
        "with FileLock(Path(sys.argv[1])): print('in', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(file)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "in\n"
    waits: list[float] = []
    entered: list[float] = []

    def enter() -> None:
        with FileLock(file, on_wait=lambda: waits.append(time.monotonic())):
            entered.append(time.monotonic())

    thread = Thread(target=enter)
    thread.start()
    time.sleep(0.3)
    assert len(waits) == 1
    assert entered == []
    holder.kill()
    holder.wait()
    holder.stdout.close()
    thread.join(10)
    assert len(entered) == 1
    with FileLock(file):
        pass
