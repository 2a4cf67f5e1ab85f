"""`vortex pull` and `vortex models`, on the default model."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from vortex.cli.app import main
from vortex.cli.composition import settings_for
from vortex.cli.download import download_progress
from vortex.cli.recommending import tell_once
from vortex.hub.catalogue import CATALOGUE
from vortex.hub.names import resolve
from vortex.hub.progress import Progress


class Program:
    """The command line in this process: arguments in, exit code and both streams out."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capfd = capfd

    def __call__(self, *arguments: str, home: Path | None = None) -> tuple[int, str, str]:
        if home is not None:
            self._monkeypatch.setenv("VORTEX_HOME", str(home))
        self._monkeypatch.setattr(sys, "argv", ["vortex", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
        streams = self._capfd.readouterr()
        return (code if isinstance(code, int) else 0), streams.out, streams.err


@pytest.fixture
def vortex(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Program:
    return Program(monkeypatch, capfd)


def test_pull_says_where_the_model_is(vortex: Program) -> None:
    model = resolve("smollm2-135m")
    code, out, err = vortex("pull", "smollm2-135m")
    assert (code, out) == (0, f"smollm2-135m is here: {model.path}\n")
    assert "licence: Apache-2.0" in err
    values = json.loads(vortex("pull", "smollm2-135m", "--json")[1])
    assert (values["path"], values["kind"]) == (str(model.path), "gguf")


def test_models_lists_what_is_here(vortex: Program) -> None:
    resolve("smollm2-135m")
    listed = json.loads(vortex("models", "--json")[1])["models"]
    (row,) = [row for row in listed if row["name"] == "smollm2-135m"]
    assert row["size_bytes"] == CATALOGUE["smollm2-135m"].size_bytes
    table = vortex("models")[1]
    assert "98 MB" in table
    assert "Apache-2.0" in table


def test_what_has_a_name_here_is_listed_fetched_or_not(vortex: Program, tmp_path: Path) -> None:
    rows = json.loads(vortex("models", "list", "--known", "--json", home=tmp_path)[1])["models"]
    assert {"name": "qwen2.5-coder-0.5b", "size_bytes": 491_400_064, "licence": "Apache-2.0", "is_here": False} in rows
    assert "1,117 MB" in vortex("models", "list", "--known")[1]
    assert vortex("models", "list", "--json")[1] == vortex("models", "--json")[1]


def test_a_model_is_recommended(vortex: Program) -> None:
    (found,) = json.loads(vortex("models", "recommend", "code", "--json")[1])["recommended"]
    assert (found["for"], found["tokens_per_s_at_most"] > 0) == ("code", True)


def test_the_first_chat_with_the_default_model_names_a_better_one_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VORTEX_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    tell_once(settings_for(flags={"model.name": "gemma3-270m"}))
    assert capfd.readouterr().err == ""
    tell_once(settings_for())
    assert "vortex chat --model qwen2.5-coder-" in capfd.readouterr().err
    tell_once(settings_for())
    assert capfd.readouterr().err == ""


def test_an_empty_home_and_unknown_names(vortex: Program, tmp_path: Path) -> None:
    empty = "No models are here yet. Fetch the default one: vortex pull smollm2-135m\n"
    assert vortex("models", home=tmp_path) == (0, empty, "")
    code, _, err = vortex("pull", "smolm2", home=tmp_path)
    assert code == 3
    assert err.startswith("error: no model is called 'smolm2'; did you mean smollm2-135m?")
    assert vortex("models", "rm", "nothing", home=tmp_path)[0] == 3


def test_a_model_is_removed(vortex: Program, tmp_path: Path) -> None:
    folder = tmp_path / "models" / "mine"
    folder.mkdir(parents=True)
    (folder / "a.gguf").write_bytes(b"x" * 2_000_000)
    record = {"name": "mine", "path": "a.gguf", "kind": "gguf", "size_bytes": 2_000_000, "licence": None, "origin": "-"}
    (folder / "model.json").write_text(json.dumps(record))
    assert "not stated" in vortex("models", home=tmp_path)[1]
    assert vortex("models", "rm", "mine", home=tmp_path)[1] == "removed mine: 2 MB freed\n"
    assert not folder.exists()


def test_a_log_gets_one_line_per_step(capfd: pytest.CaptureFixture[str]) -> None:
    with download_progress() as sink:
        for done in range(3):
            sink(Progress("downloading x", done, 5_000_000))
        sink(Progress("unpacking", 0, 0))
    assert capfd.readouterr().err == "downloading x (5 MB)\nunpacking\n"
