"""The tokenizer's commands as a user types them: round trips, counts, refusals, nothing half-written."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

from vortex.cli.app import main
from vortex.tokenizer.vortex_tok.core import IS_NATIVE

TEXT = "def f(x):\n    return x  # naïve 日本語 🙂\n".encode() * 40 + bytes(range(256)) + b"<|end|>"


@dataclass(frozen=True)
class Ran:
    returncode: int
    stdout: bytes
    stderr: bytes


class Vortex(Protocol):
    def __call__(self, *arguments: object) -> Ran: ...


@pytest.fixture
def vortex(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Vortex:
    """The program, run in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["vortex", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        return Ran(left.value.code or 0, *capfdbinary.readouterr())

    return run


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "some.txt"
    path.write_bytes(TEXT)
    return path


def test_encode_and_decode_give_the_file_back(vortex: Vortex, file: Path, tmp_path: Path) -> None:
    encoded = vortex("tokenizer", "encode", file, "--count", "--check", "--out", tmp_path / "some.vxt")
    assert encoded.returncode == 0, encoded.stderr
    assert 0 < int(encoded.stdout.splitlines()[-1]) < len(TEXT)
    decoded = vortex("tokenizer", "decode", tmp_path / "some.vxt")
    assert decoded.stdout == TEXT
    (tmp_path / "cut.vxt").write_bytes((tmp_path / "some.vxt").read_bytes()[:-5])
    cut = vortex("tokenizer", "decode", tmp_path / "cut.vxt", "--out", tmp_path / "out.txt")
    assert (cut.returncode, b"ends early" in cut.stderr) == (4, True)
    assert not (tmp_path / "out.txt").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut.vxt", "some.txt", "some.vxt"]


def test_counting_writes_nothing_and_inspecting_shows_classes(vortex: Vortex, file: Path, tmp_path: Path) -> None:
    counted = vortex("tokenizer", "encode", file, "--count", "--check")
    inspected = vortex("tokenizer", "inspect", file, "--bytes", 10_000)
    assert [path.name for path in tmp_path.iterdir()] == ["some.txt"]
    summary = inspected.stdout.decode().splitlines()[-4:]
    assert [line.split()[0] for line in summary] == ["esc", "patch", "macro", "all"]
    assert summary[-1].split()[1].replace(",", "") == counted.stdout.decode().strip()


@pytest.mark.skipif(not IS_NATIVE, reason="the native core is not built")
def test_the_reference_trains_the_same_vocabulary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ast

    (tmp_path / "text").write_bytes(Path(ast.__file__).read_bytes()[:6_000])
    heads = []
    for core in ("native", "reference"):
        monkeypatch.setenv("VORTEX_TOKENIZER", core)
        flags = ["--corpus", tmp_path / "text", "--vocab-size", "340", "--out", tmp_path / core]
        subprocess.run([sys.executable, "-m", "vortex", "tokenizer-train", *flags], check=True, capture_output=True)
        heads.append((tmp_path / core / "vortex-tok.json").read_bytes())
    assert heads[0] == heads[1]


@pytest.mark.skipif(not IS_NATIVE, reason="takes minutes without the native core")
def test_training_makes_a_tokenizer_that_encodes(vortex: Vortex, file: Path, tmp_path: Path) -> None:
    import argparse
    import ast

    folder = tmp_path / "made"
    corpus = [argument for module in (argparse, ast) for argument in ("--corpus", module.__file__)]
    made = vortex("tokenizer-train", *corpus, "--vocab-size", 700, "--out", folder)
    assert made.returncode == 0, made.stderr
    checked = vortex("tokenizer", "encode", "--tokenizer", folder, file, "--count", "--check")
    assert checked.returncode == 0, checked.stderr


def test_what_cannot_be_done_is_said_in_one_line(vortex: Vortex, file: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "same.txt").write_bytes(b"a" * 200_000)
    for arguments, message in [
        (("tokenizer-train", "--corpus", tmp_path / "empty"), b"no text"),
        (("tokenizer-train", "--corpus", tmp_path / "same.txt"), b"too small or too uniform"),
        (("tokenizer-train", "--corpus", file, "--vocab-size", 100), b"vocab_size"),
        (("tokenizer-train", "--corpus", file, "--parse", "best"), b"parse"),
        (("tokenizer", "encode", "--tokenizer", tmp_path / "empty", file), b"tokenizer-train makes one"),
        (("tokenizer", "decode", file), b"not a Vortex-Tok stream"),
    ]:
        failed = vortex(*arguments)
        assert failed.returncode in (2, 3, 4)
        assert message in failed.stderr
        assert failed.stderr.startswith(b"error:") or b"\nerror:" in failed.stderr
        assert not (tmp_path / "data" / "tokenizer").exists()


def test_a_little_text_makes_a_little_vocabulary_and_a_size_that_was_asked_for_stands(
    vortex: Vortex, tmp_path: Path
) -> None:
    (tmp_path / "corpus").mkdir()
    syllables = ["sun", "moon", "rain", "wind", "star", "sea", "hill", "wood", "snow", "fire"]
    words = [first + second for first in syllables for second in syllables]
    lines = [" ".join(words[at::7]) for at in range(7)]
    (tmp_path / "corpus" / "a.txt").write_text("\n".join(lines * 20))
    made = vortex("tokenizer-train", "--corpus", tmp_path / "corpus", "--out", tmp_path / "out")
    assert made.returncode == 0, made.stderr
    assert b"so there will be no 16,384" in made.stderr
    asked = vortex("tokenizer-train", "--corpus", tmp_path / "corpus", "--vocab-size", 5000)
    assert (asked.returncode, b"too small or too uniform" in asked.stderr) == (2, True)
