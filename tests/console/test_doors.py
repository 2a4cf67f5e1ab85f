"""One-time links and sessions: a key opens once, in time, and only hashes lie on the disk."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest

from vortex.console.doors import LINK_S, SESSION_S, Doors, fits, form_token


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def doors(tmp_path: Path, clock: Clock) -> Doors:
    return Doors(tmp_path / "console", clock)


def test_a_key_opens_once(doors: Doors) -> None:
    key = doors.new_key()
    session = doors.enter(key)
    assert session is not None
    assert doors.is_inside(session)
    assert doors.enter(key) is None
    for wrong in ("", key[:-1], key + "x", "../sessions/x", "\x00", "é" * 5000):
        assert doors.enter(wrong) is None
        assert not doors.is_inside(wrong)
    assert doors.enter(session) is None


def test_an_old_key_and_an_old_session_count_no_more(doors: Doors, clock: Clock) -> None:
    key, other = doors.new_key(), doors.new_key()
    session = doors.enter(other)
    clock.now += LINK_S
    assert doors.enter(key) is None
    assert doors.is_inside(session)
    clock.now += SESSION_S
    assert not doors.is_inside(session)


def test_a_restarted_server_knows_who_is_inside(doors: Doors, tmp_path: Path, clock: Clock) -> None:
    session = doors.enter(doors.new_key())
    assert session is not None
    again = Doors(tmp_path / "console", clock)
    assert again.is_inside(session)
    again.leave(session)
    assert not doors.is_inside(session)


def test_of_many_who_try_at_once_one_comes_in(doors: Doors) -> None:
    key, found = doors.new_key(), []
    ready = threading.Barrier(8)

    def attempt() -> None:
        ready.wait()
        found.append(doors.enter(key))

    threads = [threading.Thread(target=attempt) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(one is not None for one in found) == 1


def test_only_hashes_lie_there_for_their_owner_alone(doors: Doors, tmp_path: Path) -> None:
    key = doors.new_key()
    session = doors.enter(doors.new_key())
    assert session is not None
    files = [path for path in (tmp_path / "console").rglob("*") if path.is_file()]
    assert len(files) == 2
    for path in files:
        assert key not in path.name + path.read_text()
        assert session not in path.name + path.read_text()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_everybody_out(doors: Doors) -> None:
    key = doors.new_key()
    sessions = [doors.enter(doors.new_key()) for _ in range(2)]
    assert doors.close_all() == 2
    assert not any(doors.is_inside(one) for one in sessions)
    assert doors.enter(key) is None


def test_a_damaged_file_opens_nothing(doors: Doors, tmp_path: Path) -> None:
    session = doors.enter(doors.new_key())
    assert session is not None
    for path in (tmp_path / "console" / "sessions").iterdir():
        path.write_bytes(b"\xff\xfe never")
    assert not doors.is_inside(session)


def test_a_forms_token_fits_its_session_alone() -> None:
    assert fits("one", form_token("one"))
    assert not any(fits("one", sent) for sent in ("", form_token("other"), form_token("one")[:-1], "é"))
