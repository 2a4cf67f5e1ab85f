"""Clients that other people wrote, unchanged. Each needs its own environment, named by a variable:

VORTEX_LANGCHAIN_PYTHON   an interpreter with langchain-openai
VORTEX_AI_SDK_FOLDER      a folder in which `npm install ai @ai-sdk/openai-compatible zod` was run
VORTEX_CLAUDE             the program `claude` of the npm package @anthropic-ai/claude-code
VORTEX_CODEX              the program `codex` of the npm package @openai/codex

The last two do a small task with a tool call, their other side a scripted model.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import httpx
import pytest

from vortex.backends.fake import Answer, FakeBackend
from vortex.cli.launch.programs import PROGRAMS, Server
from vortex.types import ChatRequest, ToolCall

CLIENTS = Path(__file__).parent / "clients"


def environment(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        pytest.fail(f"{name} is not set: the test was asked for, see the top of this file")
    return value


@pytest.mark.peer
def test_langchain(plain: httpx.Client) -> None:
    python = environment("VORTEX_LANGCHAIN_PYTHON")
    address = str(plain.base_url).rstrip("/")
    subprocess.run([python, CLIENTS / "langchain_walk.py", address], check=True, timeout=120)


@pytest.mark.peer
def test_ai_sdk(plain: httpx.Client) -> None:
    folder = environment("VORTEX_AI_SDK_FOLDER")
    command = ["node", "--input-type=module", "-", str(plain.base_url).rstrip("/")]
    script = (CLIENTS / "ai_sdk_walk.mjs").read_bytes()
    subprocess.run(command, input=script, check=True, timeout=120, cwd=folder)


def reads_the_note(request: ChatRequest) -> Answer:
    """A model that reads note.txt with the tool it is offered, and says what came back."""
    last = request.messages[-1]
    if last.role == "tool":
        return Answer(reasoning="Now I know.", text=f"It says: {' '.join(last.content.split())}")
    for tool in request.tools:
        keys = set(tool.parameters.get("properties", {}))
        if tool.name == "Read":
            arguments = {"file_path": "note.txt"}
        elif "cmd" in keys:
            arguments = {"cmd": "cat note.txt"}
        elif "command" in keys and tool.name == "shell":
            arguments = {"command": ["cat", "note.txt"]}
        else:
            continue
        call = ToolCall(id="c00000001", name=tool.name, arguments=json.dumps(arguments))
        return Answer(reasoning="I look.", text="Let me look.", tool_calls=(call,))
    return Answer(text="A title")


def run_program(name: str, program: str, words: list[str], address: str, folder: Path) -> str:
    """What it printed, told where the server is as `vortex launch` tells it."""
    (folder / "note.txt").write_text("seven hills\n")
    told = PROGRAMS[name].tell(Server(address=address, model="vortex-fake"))
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), **told.variables}
    run = subprocess.run(
        [program, *told.arguments, *words],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]
    return run.stdout + run.stderr


@pytest.mark.peer
def test_claude_code_ends_a_task_with_a_tool(running_server, tmp_path: Path) -> None:
    backend = FakeBackend(reads_the_note, context_length=200_000)
    with running_server(backend) as address:
        words = ["-p", "What does note.txt say?", "--allowedTools", "Read"]
        said = run_program("claude", environment("VORTEX_CLAUDE"), words, address, tmp_path)
    assert "It says:" in said
    assert "seven hills" in said


@pytest.mark.peer
def test_codex_ends_a_task_with_a_tool(running_server, tmp_path: Path) -> None:
    backend = FakeBackend(reads_the_note, context_length=200_000)
    with running_server(backend) as address:
        # its own sandbox looks for a helper that the npm package does not put on the path; all it runs here is `cat`
        words = ["exec", "--skip-git-repo-check", "--sandbox", "danger-full-access", "What does note.txt say?"]
        said = run_program("codex", environment("VORTEX_CODEX"), words, address, tmp_path)
    assert "It says:" in said
    assert "seven hills" in said
