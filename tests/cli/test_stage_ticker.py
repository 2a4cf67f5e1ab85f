"""What `vortex bootstrap` says while it works: where it is, and how long it still takes."""

from __future__ import annotations

import pytest

from vortex.cli.improve.bootstrap import StageTicker


def test_in_a_pipe_each_stage_begins_and_ends_with_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    told = StageTicker()
    for step in range(1, 31):
        told("logits", step, 30, 2.5)
    for step in range(1, 161):
        told("comparing student and teacher", step, 160, None)
    assert capsys.readouterr().err.splitlines() == [
        "logits: 1 of 30, loss 2.5000",
        "logits: 30 of 30, loss 2.5000",
        "comparing student and teacher: 1 of 160",
        "comparing student and teacher: 160 of 160",
    ]


def test_a_long_stage_says_what_is_left(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([100.0, 130.0, 160.0])
    monkeypatch.setattr("time.monotonic", lambda: next(seconds))
    told = StageTicker()
    for step in (1, 2, 3):
        told("align", step, 30, 0.5)
    assert "about 14 min left" in capsys.readouterr().err.splitlines()[1]
