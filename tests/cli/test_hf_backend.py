"""`--backend hf` where something is missing: one line names the way out, or the fallback answers and a line says so."""

from __future__ import annotations

import sys

import pytest

from vortex.machine.gpu import find_gpus
from vortex.machine.installation import add_extra

SEED_MODEL = ("--profile", "rtx4080_16gb", "--backend", "hf", "--model", "Qwen/Qwen2.5-8B-Instruct")


def test_without_the_extra_one_line_names_it(inside, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    result = inside.run("chat", "--backend", "hf", "hi")
    assert (result.returncode, result.stdout) == (6, "")
    assert add_extra("hf") in result.stderr
    assert result.stderr.count("\n") == 1
    examined = inside.run("doctor", "--backend", "hf")
    assert examined.returncode == 6
    assert "needs transformers, not installed here" in examined.stdout


@pytest.mark.parametrize("command", [("chat", *SEED_MODEL, "--stream", "hi"), ("serve", *SEED_MODEL, "--port", "0")])
def test_a_model_that_is_not_to_be_had_is_named_as_it_is_called_now(inside, command) -> None:
    result = inside.run(*command, HF_HUB_OFFLINE="1", HF_HOME=str(inside.folder))
    assert result.returncode in {3, 5}
    assert "error: Qwen/Qwen3-8B" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.skipif(bool(find_gpus()), reason="a machine with a GPU runs the profile's own model")
def test_a_profile_that_wants_a_gpu_names_what_answers_instead(inside, monkeypatch) -> None:
    said = "Qwen/Qwen3-8B wants a GPU with 20 GB and this machine has none; smollm2-135m answers instead"
    assert said in inside.run("doctor", "--profile", "qwen8b_base").stdout
    monkeypatch.setitem(sys.modules, "transformers", None)  # the fallback runs without the extra
    result = inside.run("chat", "--profile", "qwen8b_base", "--max-new-tokens", "3", "What is the capital of France?")
    assert result.returncode == 0
    assert said in result.stderr
    assert result.stdout
