"""The agent in an editor, with the protocol's own client on the other side of two pipes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.agent.conftest import FAULTY, MakeRepository

acp = pytest.importorskip("acp", reason="extra agent")
pytestmark = pytest.mark.long  # interpreters are started behind walls


class Editor:
    """A client that answers every question the same way, and keeps what it was told."""

    def __init__(self, answer: str) -> None:
        self.answer = answer
        self.thoughts: list[str] = []
        self.said: list[str] = []
        self.asked: list[Any] = []

    async def session_update(self, session_id: str, update: Any, **_: Any) -> None:
        target = self.thoughts if update.session_update == "agent_thought_chunk" else self.said
        target.append(update.content.text)

    async def request_permission(self, session_id: str, tool_call: Any, options: list[Any], **_: Any) -> Any:
        from acp.schema import AllowedOutcome, RequestPermissionResponse

        self.asked.append(tool_call)
        outcome = AllowedOutcome(outcome="selected", option_id=self.answer)
        return RequestPermissionResponse(outcome=outcome)

    def on_connect(self, conn: Any) -> None:
        return


async def asked(folder: Path, editor: Editor, words: str) -> str:
    command = ["-m", "vortex", "agent-editor", "--backend", "fake"]
    async with acp.spawn_agent_process(editor, sys.executable, *command, cwd=folder) as (connection, _):
        hello = await connection.initialize(protocol_version=acp.PROTOCOL_VERSION)
        assert hello.agent_info.name == "vortex"
        with pytest.raises(acp.RequestError):
            await connection.new_session(cwd="relative", mcp_servers=[])
        session = await connection.new_session(cwd=str(folder), mcp_servers=[])
        answer = await connection.prompt(session_id=session.session_id, prompt=[acp.text_block(words)])
        return str(answer.stop_reason)


@pytest.mark.parametrize(("answer", "changed"), [("allow", True), ("reject", False)])
async def test_a_prompt_is_a_task_and_its_patch_a_question(
    make_repository: MakeRepository, answer: str, changed: bool
) -> None:
    folder, editor = make_repository(), Editor(answer)
    assert await asked(folder, editor, "Fix the failing test") == "end_turn"
    assert len(editor.asked) == 1
    assert editor.asked[0].content[0].old_text == FAULTY
    assert "value > best" in editor.asked[0].content[0].new_text
    assert any(text.startswith("reproduce") for text in editor.thoughts)
    assert ("value > best" in (folder / "numbers_of.py").read_text()) is changed
    assert ("applied" in editor.said[-1].splitlines()) is changed


async def test_what_cannot_be_done_is_said(make_repository: MakeRepository) -> None:
    editor = Editor("allow")
    assert await asked(make_repository({"a.py": "x = 1\n"}), editor, "Rol: Boss\nFix it") == "end_turn"
    assert "no role 'Boss'" in editor.said[-1]
