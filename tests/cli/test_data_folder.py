"""VORTEX_DATA moves what commands write under `data/`, for every command that writes there."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.cli.conftest import SameProcess
from vortex.config import data_folder

SOURCE = Path(data_folder.__file__).parents[1]
TEXT = Path(data_folder.__file__).with_name("schema.py").read_text()
TRAINING = ("--window", "16", "--batch-tokens", "64", "--steps", "1", "--device", "cpu")
COMMANDS = {
    "tokenizer": ("tokenizer-train", "--corpus", "corpus", "--vocab-size", "330"),
    "bench/tokenizer-quality": (
        *("bench", "tokenizer-quality", "--corpus", "corpus", "--corpus-mb", "1"),
        *("--vocab-size", "400", "--prepare-only"),
    ),
    "bench/latest.txt": (
        *("bench", "generate", "--set", "model.backend=hash"),
        *("--prompts", "1", "--max-new-tokens", "2"),
    ),
}
LONG_COMMANDS = {
    "core": ("train-core", "--data", "corpus", "--size", "tiny", "--tokenizer", "bytes", *TRAINING),
    "core-quality": (
        *("bench", "core-quality", "--data", "corpus", "--vocab-size", "330", "--rate", "1e-3", "--seeds", "1"),
        *("--arch", "core", *TRAINING),
    ),
}


@pytest.fixture
def corpus(inside: SameProcess) -> SameProcess:
    (inside.folder / "corpus").mkdir()
    for number in range(3):
        (inside.folder / "corpus" / f"{number}.txt").write_text(f"{number}\n{TEXT}")
    return inside


def check_that_it_moves(program: SameProcess, made: str, command: tuple[str, ...]) -> None:
    result = program.run(*command, VORTEX_DATA="elsewhere")
    assert result.returncode == 0, result.stderr
    assert (program.folder / "elsewhere" / made).exists()
    assert not (program.folder / "data").exists()


@pytest.mark.parametrize("made", COMMANDS)
@pytest.mark.long
def test_a_command_writes_where_the_variable_says(corpus: SameProcess, made: str) -> None:
    check_that_it_moves(corpus, made, COMMANDS[made])


@pytest.mark.long
@pytest.mark.parametrize("made", LONG_COMMANDS)
def test_a_long_command_writes_where_the_variable_says(corpus: SameProcess, made: str) -> None:
    check_that_it_moves(corpus, made, LONG_COMMANDS[made])


def test_episodes_lie_where_the_variable_says(inside: SameProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    from vortex.cli.serve import server_options
    from vortex.config.schema import Settings
    from vortex.server.keys import ApiKey

    monkeypatch.setenv("VORTEX_DATA", "elsewhere")
    options = server_options(Settings(), ApiKey("a key"), episodes=True)
    assert options.episodes_dir == Path("elsewhere/episodes")


def test_a_bootstrapped_core_lies_where_the_variable_says(inside: SameProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command itself takes minutes: here, what it would run."""
    from vortex.cli.improve.bootstrap import BootstrapCommand, _run

    monkeypatch.setenv("VORTEX_DATA", "elsewhere")
    assert _run(BootstrapCommand()).out == Path("elsewhere/bootstrap")


def test_without_the_variable_it_is_data_of_the_working_folder(corpus: SameProcess) -> None:
    assert corpus.run(*COMMANDS["tokenizer"]).returncode == 0
    assert (corpus.folder / "data" / "tokenizer").is_dir()


def test_an_older_result_that_the_variable_does_not_reach_is_named_in_one_line(corpus: SameProcess) -> None:
    assert corpus.run(*COMMANDS["tokenizer"]).returncode == 0
    moved = corpus.run(*COMMANDS["tokenizer"], VORTEX_DATA="elsewhere")
    lines = [line for line in moved.stderr.splitlines() if "is not used" in line]
    assert len(lines) == 1
    assert "to go on with it, move it to elsewhere/tokenizer" in lines[0]
    again = corpus.run(*COMMANDS["tokenizer"], VORTEX_DATA="elsewhere")
    assert "is not used" not in again.stderr, "said until there is a result where the variable points"


def test_no_other_module_names_the_folder() -> None:
    offenders = []
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            is_path = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Path"
            first = node.args[0] if is_path and node.args else None
            if isinstance(first, ast.Constant) and str(first.value).split("/")[0] == "data":
                offenders.append(f"{path.relative_to(SOURCE)}:{node.lineno}")
    assert [offender.split(":")[0] for offender in offenders] == ["config/data_folder.py"]
