"""`vortex pull` and `vortex models`, run as programs on the default model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vortex.cli.download import download_progress
from vortex.models.catalogue import CATALOGUE
from vortex.models.hub import resolve
from vortex.models.progress import Progress


def vortex(*arguments: str, home: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ) if home is None else {**os.environ, "VORTEX_HOME": str(home)}
    return subprocess.run(
        [sys.executable, "-m", "vortex", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_pull_says_where_the_model_is() -> None:
    model = resolve("smollm2-135m")
    told = vortex("pull", "smollm2-135m")
    assert (told.returncode, told.stdout) == (0, f"smollm2-135m is here: {model.path}\n")
    assert "licence: Apache-2.0" in told.stderr
    values = json.loads(vortex("pull", "smollm2-135m", "--json").stdout)
    assert (values["path"], values["kind"]) == (str(model.path), "gguf")


def test_models_lists_what_is_here() -> None:
    resolve("smollm2-135m")
    (row,) = [row for row in json.loads(vortex("models", "--json").stdout)["models"] if row["name"] == "smollm2-135m"]
    assert row["size_bytes"] == CATALOGUE["smollm2-135m"].size_bytes
    table = vortex("models").stdout
    assert "98 MB" in table
    assert "Apache-2.0" in table


def test_an_empty_home_and_unknown_names(tmp_path: Path) -> None:
    empty = vortex("models", home=tmp_path)
    assert (empty.returncode, empty.stdout) == (
        0,
        "No models are here yet. Fetch the default one: vortex pull smollm2-135m\n",
    )
    unknown = vortex("pull", "smolm2", home=tmp_path)
    assert unknown.returncode == 3
    assert unknown.stderr.startswith("error: no model is called 'smolm2'; did you mean smollm2-135m?")
    assert vortex("models", "rm", "nothing", home=tmp_path).returncode == 3


def test_a_model_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "mine"
    folder.mkdir(parents=True)
    (folder / "a.gguf").write_bytes(b"x" * 2_000_000)
    record = {"name": "mine", "path": "a.gguf", "kind": "gguf", "size_bytes": 2_000_000, "licence": None, "origin": "-"}
    (folder / "model.json").write_text(json.dumps(record))
    assert "not stated" in vortex("models", home=tmp_path).stdout
    assert vortex("models", "rm", "mine", home=tmp_path).stdout == "removed mine: 2 MB freed\n"
    assert not folder.exists()


def test_a_log_gets_one_line_per_step(capfd: pytest.CaptureFixture[str]) -> None:
    with download_progress() as sink:
        for done in range(3):
            sink(Progress("downloading x", done, 5_000_000))
        sink(Progress("unpacking", 0, 0))
    assert capfd.readouterr().err == "downloading x (5 MB)\nunpacking\n"
