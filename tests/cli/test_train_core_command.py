"""`vortex train-core` and `vortex bootstrap` as people type them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from vortex.cli.commands import whole_app
from vortex.cli.improve.bootstrap import checkpoint_folder


def run(*arguments: object):
    return CliRunner().invoke(whole_app(), [str(argument) for argument in arguments])


@pytest.mark.long
def test_text_becomes_a_core_that_answers_and_is_measured(tmp_path) -> None:
    """From a file of text to `chat` and `eval` by the commands alone."""
    rows = [{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]}] * 200
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    sizes = ("--size", "tiny", "--window", 32, "--batch-tokens", 256, "--steps", 60, "--tokenizer", "bytes")
    made = run("train-core", "--data", tmp_path / "rows.jsonl", "--out", tmp_path / "core", *sizes, "--device", "cpu")
    assert made.exit_code == 0, made.output
    assert (tmp_path / "core" / "curve.png").stat().st_size > 1000
    plain = ("--set", 'chat.system=""', "--max-new-tokens", 8)
    answer = run("chat", "--model", tmp_path / "core", *plain, "Hi")
    assert answer.exit_code == 0, answer.output
    assert answer.stdout.strip() == "Ho"
    again = ("--data", tmp_path / "rows.jsonl", "--start-from", tmp_path / "core", "--out", tmp_path / "more")
    more = run("train-core", *again, "--steps", 1, "--batch-tokens", 256, "--window", 32, "--device", "cpu")
    assert more.exit_code == 0, more.output
    assert run("chat", "--model", tmp_path / "more", *plain, "Hi").stdout.strip() == "Ho"
    figures = run("eval", "--model", tmp_path / "core", "--tokens", 64, "--window", 32, "--recall", 64)
    assert json.loads(figures.stdout.strip().splitlines()[-1])["bits_per_byte"] > 0


def test_options_that_make_no_sense_are_refused(tmp_path) -> None:
    (tmp_path / "a.txt").write_text("some text")
    both = run("train-core", "--data", tmp_path / "a.txt", "--steps", 3, "--minutes", 1, "--tokenizer", "bytes")
    assert "give one of them" in str(both.exception)
    assert "no size is called 'huge'" in str(
        run("train-core", "--data", tmp_path / "a.txt", "--size", "huge", "--tokenizer", "bytes").exception
    )
    assert "float32, float16, int8, not 'bf16'" in str(
        run("train-core", "--data", tmp_path, "--dtype", "bf16", "--tokenizer", "bytes").exception
    )
    assert "not 'q4'" in str(run("bootstrap", "--steps", 0, "--dtype", "q4").exception), "before anything is fetched"
    assert "leave --size and --arch out" in str(
        run("train-core", "--data", tmp_path, "--start-from", tmp_path, "--size", "tiny").exception
    )
    assert "--arch is core or transformer" in str(run("train-core", "--data", tmp_path, "--arch", "rnn").exception)


def test_a_pickle_is_not_read(tmp_path) -> None:
    (tmp_path / "old.pt").write_bytes(b"\x80\x04.")
    refused = run("bootstrap", "--checkpoint", tmp_path / "old.pt")
    assert "is a pickle" in str(refused.exception)


@pytest.mark.parametrize(
    ("named", "folder"),
    [("a/b.pt", "a/b"), ("a/model.safetensors", "a"), ("a/c.safetensors", "a/c"), ("a/core", "a/core")],
)
def test_a_checkpoints_name_means_a_folder(named: str, folder: str) -> None:
    assert checkpoint_folder(Path(named)) == Path(folder)
