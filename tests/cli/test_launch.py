"""`vortex launch`: shows what it would do, starts a server for a program, and ends it with the program."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from vortex.cli.commands import whole_app
from vortex.cli.launch.programs import PROGRAMS, Server
from vortex.server.process import bind

SERVER = Server(address="http://127.0.0.1:9", model="small", key="k", context_tokens=2048)


def test_each_program_is_told_where_the_server_is_and_which_model_answers() -> None:
    for name, program in PROGRAMS.items():
        told = program.tell(SERVER)
        words = " ".join([*told.variables.values(), *told.arguments, told.config])
        assert "http://127.0.0.1:9" in words, name
        assert "small" in words, name


def test_claude_and_codex() -> None:
    claude = PROGRAMS["claude"].tell(SERVER).variables
    assert (claude["ANTHROPIC_BASE_URL"], claude["ANTHROPIC_AUTH_TOKEN"]) == ("http://127.0.0.1:9", "k")
    assert {value for key, value in claude.items() if key.endswith("_MODEL")} == {"small"}
    codex = PROGRAMS["codex"].tell(SERVER)
    assert codex.variables == {"VORTEX_API_KEY": "k"}
    assert "model_context_window=2048" in codex.arguments
    assert json.loads(PROGRAMS["opencode"].tell(SERVER).variables["OPENCODE_CONFIG_CONTENT"])["model"] == "vortex/small"


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """An empty folder, and a port on which nobody listens."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VORTEX_DATA", str(tmp_path / "data"))
    with bind("127.0.0.1", 0) as listener:
        return int(listener.getsockname()[1])


def options(port: int) -> list[str]:
    return ["--set", f"server.port={port}", "--set", "model.backend=fake"]


def test_print_shows_and_does_nothing(alone: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KLIMEAI_API_TOKEN", "very-secret")
    shown = CliRunner().invoke(whole_app(), ["launch", "--print", *options(alone), "continue", "-p", "hi"])
    assert shown.exit_code == 0
    assert "vortex serve" in shown.stdout
    assert "cn --config '{config}' -p hi" in shown.stdout
    assert "very-secret" not in shown.stdout
    assert not list(tmp_path.iterdir())


def test_an_unknown_or_missing_program_is_one_line(alone: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "choose one of: claude" in str(CliRunner().invoke(whole_app(), ["launch", "emacs"]).exception)
    monkeypatch.setenv("PATH", "")
    missing = CliRunner().invoke(whole_app(), ["launch", *options(alone), "aider"])
    assert "pip install aider-chat" in str(missing.exception)


@pytest.mark.long
def test_a_server_is_started_for_the_program_and_ends_with_it(
    alone: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "claude"
    program.parent.mkdir()
    code = (
        "import json, os, sys, urllib.request\n"
        "url = os.environ['ANTHROPIC_BASE_URL'] + '/v1/messages'\n"
        "body = {'model': os.environ['ANTHROPIC_MODEL'], 'max_tokens': 9,"
        " 'messages': [{'role': 'user', 'content': 'capital of France'}]}\n"
        "request = urllib.request.Request(url, json.dumps(body).encode(), {'content-type': 'application/json'})\n"
        "open('said', 'w').write(urllib.request.urlopen(request).read().decode() + ' '.join(sys.argv[1:]))\n"
        "sys.exit(7)\n"
    )
    program.write_text(f"#!{sys.executable}\n{code}")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    done = CliRunner().invoke(whole_app(), ["launch", *options(alone), "claude", "--flag", "word"])
    assert done.exit_code == 7
    said = (tmp_path / "said").read_text()
    assert "Paris." in said
    assert said.endswith("--flag word")
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{alone}/healthz", trust_env=False)
