"""A question waits for a person; no answer, a wrong one and a broken one all mean no."""

from __future__ import annotations

import json
import stat
import threading
from pathlib import Path

import pytest

from vortex.errors import RequestError, StorageError
from vortex.records.questions import Question, Questions


def waiting_for(folder: Path, wait_s: float = 20) -> tuple[threading.Thread, list[bool], Question]:
    found: list[bool] = []
    questions = Questions(folder)
    thread = threading.Thread(
        target=lambda: found.append(
            questions.ask("write_file", "write", {"text": "ü" * 9000}, "asks first", wait_s=wait_s)
        )
    )
    thread.start()
    while not (open_ones := questions.waiting()):
        thread.join(0.01)
    return thread, found, open_ones[0]


@pytest.mark.parametrize("allowed", [True, False])
def test_an_answer_is_given_once_and_leaves_nothing(tmp_path: Path, allowed: bool) -> None:
    thread, found, one = waiting_for(tmp_path)
    (file,) = tmp_path.glob("*.json")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert one.arguments == {"text": "ü" * 9000}
    with pytest.raises(RequestError, match="another call"):
        Questions(tmp_path).answer(one.id, "0" * 64, allowed=True)
    Questions(tmp_path).answer(one.id, one.hash, allowed=allowed)
    with pytest.raises(RequestError, match="waits no more"):
        Questions(tmp_path).answer(one.id, one.hash, allowed=True)
    thread.join(10)
    assert found == [allowed]
    assert list(tmp_path.iterdir()) == []


def test_without_an_answer_in_time_the_answer_is_no(tmp_path: Path) -> None:
    assert Questions(tmp_path).ask("a", "command", {}, "", wait_s=0.0) is False
    assert list(tmp_path.iterdir()) == []


def test_an_answer_to_something_else_is_no(tmp_path: Path) -> None:
    thread, found, one = waiting_for(tmp_path)
    (tmp_path / f"{one.id}.answer").write_text(f"allow {'0' * 64}\n")
    thread.join(10)
    assert found == [False]


def test_what_lies_there_broken_or_forged_is_no_question(tmp_path: Path) -> None:
    (tmp_path / "ffffffffffff.json").write_text("{")
    (tmp_path / "eeeeeeeeeeee.json").write_text(json.dumps({"id": "dddddddddddd"}))
    (tmp_path / "..json").write_text("{}")
    assert Questions(tmp_path).waiting() == []
    with pytest.raises(RequestError):
        Questions(tmp_path).answer("../x", "", allowed=True)


def test_one_whose_time_is_over_waits_no_more(tmp_path: Path) -> None:
    now = [1000.0]
    questions = Questions(tmp_path, lambda: now[0])
    one = Question(
        id="a" * 12, tool="t", effect="read", arguments={}, reason="", folder="/", asked=1000.0, until=1600.0
    )
    shown = {key: value for key, value in one.to_json().items() if key != "hash"}
    (tmp_path / f"{one.id}.json").write_text(json.dumps(shown))
    assert questions.waiting() == [one]
    now[0] = 1600.0
    assert questions.waiting() == []


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="nobody could be asked"):
        Questions(tmp_path / "file" / "questions").ask("a", "read", {}, "")


@pytest.mark.parametrize("wrong", [{"until": "x"}, {"arguments": []}, {"tool": 5}])
def test_a_question_of_another_shape_is_none(tmp_path: Path, wrong: dict[str, object]) -> None:
    right = {"id": "0123456789ab", "tool": "t", "effect": "e", "arguments": {}, "reason": "r", "folder": "f"}
    (tmp_path / "0123456789ab.json").write_text(json.dumps(right | {"asked": 1.0, "until": 1e12} | wrong))
    assert Questions(tmp_path).waiting() == []
    (tmp_path / "0123456789ab.json").write_text("[" * 100_000)
    assert Questions(tmp_path).waiting() == []
