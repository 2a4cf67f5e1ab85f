"""The program around its commands: help, errors, exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
HELP_CPU_S = 0.9  # 0.4 s on a quiet machine; processor time, so that a busy one does not matter


def test_without_arguments_it_says_what_to_try_first(inside) -> None:
    result = inside.run()
    assert result.returncode == 0
    assert result.stdout.count("  vortex ") == 3
    assert result.stderr == ""


def test_help_names_every_command_and_is_fast(vortex) -> None:
    before = os.times()
    result = vortex.run("--help")
    after = os.times()
    assert result.returncode == 0
    for command in ("chat", "serve", "pull", "models", "doctor", "bench", "config"):
        assert f" {command} " in result.stdout
    spent = (after.children_user - before.children_user) + (after.children_system - before.children_system)
    assert spent < HELP_CPU_S


def test_its_earlier_name_is_the_same_program(vortex) -> None:
    first = vortex.run("--version")
    second = subprocess.run(
        [sys.executable, "-m", "c3rnt2", "--version"],
        capture_output=True,
        text=True,
        env=vortex.environment,
        check=True,
    )
    assert first.stdout == second.stdout
    assert first.stdout.startswith("vortex ")


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        (["chta"], 2, "error: no command 'chta' (did you mean 'chat'?); see: vortex --help"),
        (["rm"], 2, "error: no command 'rm' (did you mean 'models rm'?)"),
        (["xyzzy"], 2, "error: no command 'xyzzy'; see: vortex --help"),
        (["chat", "--budgt", "2GB"], 2, "error: no option '--budgt' (did you mean '--budget'?); see: vortex chat"),
        (["chat", "hi", "--budget", "60"], 2, "error: '60' has no unit"),
        (
            ["serve", "--host", "192.0.2.1"],
            2,
            "192.0.2.1:8000: this machine has no such address",
        ),
        (["models", "rm"], 2, "error: missing argument 'name'; see: vortex models rm --help"),
        (["serve", "--port", "abc"], 2, "error: --port: "),
        (["chat", "hi", "--profile", "defualt"], 2, "error: no profile 'defualt' (did you mean 'default'?)"),
        (["chat", "hi", "--model", "smolm2-135m"], 3, "did you mean smollm2-135m?"),
        (["chat", "hi", "--model", "./none.gguf"], 3, "error: there is no file or folder ./none.gguf"),
        (["chat", "hi", "--backend", "cloud"], 2, "input should be 'local', 'hf', 'http', 'hash' or 'fake' (got"),
        (["chat", "hi", "--set", "decode.top_p=7"], 2, "error: --set: decode.top_p: input should be less than"),
        (["chat", "  ", "--backend", "fake"], 2, "error: the question is empty"),
        (["bench", "decode", "--stream"], 2, "error: no option '--stream'"),
        (["bench", "decode", "--peer", "lama.cpp", "--set", "model.backend=hash"], 2, "did you mean 'llama.cpp'?"),
        (["config", "show", "decod"], 2, "error: no section or setting 'decod'"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_way_out(inside, arguments, exit_code, said) -> None:
    result = inside.run(*arguments)
    assert result.returncode == exit_code
    assert said in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr
    if "error:" in said:
        assert result.stderr.count("\n") == 1


def test_a_server_that_is_not_there_is_one_line_too(inside) -> None:
    result = inside.run("chat", "hi", "--backend", "http", "--set", "model.base_url=http://127.0.0.1:1")
    assert result.returncode == 1
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1


def test_debug_shows_where_an_error_came_from(vortex) -> None:
    result = vortex.run("chat", "hi", "--profile", "none", VORTEX_DEBUG="1")
    assert "Traceback" in result.stderr
    assert "ConfigError" in result.stderr


@pytest.mark.parametrize("script", ["write_cli_docs.py", "write_settings_table.py", "write_env_example.py"])
def test_pages_written_from_the_program_are_up_to_date(script: str) -> None:

    result = subprocess.run(
        [sys.executable, ROOT / "scripts" / script, "--check"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
