"""The agent inside an editor, over the Agent Client Protocol on standard input and output (extra `agent`).

A session is a folder; a prompt is a task in it, worked on as by `agent-run`: progress goes to the editor as thoughts,
the patch as an edit with its diff, and the editor's person is asked before anything is written. Promises: nothing is
changed without that answer; a cancelled prompt ends, with nothing written. A new prompt is a new conversation. Does
not do: serve files or terminals of the editor; what is not saved there is not seen.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from vortex.agent.authority import Confirm
from vortex.agent.loop import Tell
from vortex.agent.patch import Patch, summary_of
from vortex.agent.task import TaskResult
from vortex.errors import MissingCapability, VortexError
from vortex.machine.installation import add_extra

Worker = Callable[[Path, str, Confirm, Tell], Awaitable[TaskResult]]
"""Works on a task's words in a folder; asks by the confirm, tells by the other."""
ALLOW = "allow"


async def serve_editor(worker: Worker, version: str) -> None:
    """Until the editor closes its end. Raises MissingCapability without the protocol's package."""
    try:
        import acp
    except ImportError:
        raise MissingCapability(f"editors need the package agent-client-protocol: {add_extra('agent')}") from None
    agent: Any = EditorAgent(worker, version)  # the protocol names further calls, which we do not serve
    await acp.run_agent(agent)


class EditorAgent:
    """What the protocol calls; one instance serves one editor."""

    def __init__(self, worker: Worker, version: str) -> None:
        self._worker, self._version = worker, version
        self._client: Any = None
        self._folders: dict[str, Path] = {}
        self._running: dict[str, tuple[asyncio.AbstractEventLoop, asyncio.Task[TaskResult]]] = {}

    def on_connect(self, conn: Any) -> None:
        self._client = conn

    async def initialize(self, protocol_version: int, **_: Any) -> Any:
        from acp import PROTOCOL_VERSION, InitializeResponse
        from acp.schema import AgentCapabilities, Implementation

        return InitializeResponse(
            protocol_version=min(protocol_version, PROTOCOL_VERSION),
            agent_capabilities=AgentCapabilities(),
            agent_info=Implementation(name="vortex", version=self._version),
        )

    async def new_session(self, cwd: str, **_: Any) -> Any:
        from acp import NewSessionResponse, RequestError

        folder = Path(cwd)
        if not folder.is_absolute() or not folder.is_dir():
            raise RequestError.invalid_params({"cwd": "must be an absolute path of a folder that is there"})
        session = secrets.token_hex(8)
        self._folders[session] = folder
        return NewSessionResponse(session_id=session)

    async def prompt(self, session_id: str, prompt: list[Any], **_: Any) -> Any:
        """The task is the prompt's text; resources that an editor attaches are left out: they are words of files."""
        from acp import PromptResponse, RequestError

        if session_id not in self._folders:
            raise RequestError.invalid_params({"sessionId": "there is no such session"})
        words = "\n".join(block.text for block in prompt if getattr(block, "type", "") == "text").strip()
        here = asyncio.get_running_loop()

        def tell(step: str, text: str) -> None:
            asyncio.run_coroutine_threadsafe(self._think(session_id, f"{step}: {text}\n"), here).result()

        def confirm(patch: Patch) -> bool:
            return asyncio.run_coroutine_threadsafe(self._ask(session_id, patch), here).result()

        try:
            result = await asyncio.to_thread(self._work, session_id, words, confirm, tell)
        except asyncio.CancelledError:
            return PromptResponse(stop_reason="cancelled")
        except VortexError as error:
            await self._say(session_id, f"{error}\n")
            return PromptResponse(stop_reason="end_turn")
        await self._say(session_id, _outcome(result))
        return PromptResponse(stop_reason="end_turn")

    async def cancel(self, session_id: str, **_: Any) -> None:
        running = self._running.get(session_id)
        if running is not None:
            loop, task = running
            loop.call_soon_threadsafe(task.cancel)

    def _work(self, session: str, words: str, confirm: Confirm, tell: Tell) -> TaskResult:
        """On a thread and a loop of its own, since a person may take long to answer."""

        async def work() -> TaskResult:
            task = asyncio.ensure_future(self._worker(self._folders[session], words, confirm, tell))
            self._running[session] = (asyncio.get_running_loop(), task)
            try:
                return await task
            finally:
                self._running.pop(session, None)

        assert threading.current_thread() is not threading.main_thread(), "the protocol's own loop stays free"
        return asyncio.run(work())

    async def _think(self, session: str, text: str) -> None:
        from acp import update_agent_thought_text

        await self._client.session_update(session_id=session, update=update_agent_thought_text(text))

    async def _say(self, session: str, text: str) -> None:
        from acp import update_agent_message_text

        await self._client.session_update(session_id=session, update=update_agent_message_text(text))

    async def _ask(self, session: str, patch: Patch) -> bool:
        from acp import tool_diff_content
        from acp.schema import AllowedOutcome, PermissionOption, ToolCallLocation, ToolCallUpdate

        folder = self._folders[session]
        call = ToolCallUpdate(
            tool_call_id=f"patch-{patch.id}",
            kind="edit",
            status="pending",
            title=f"Change {', '.join(patch.paths)}: {patch.evidence.verdict}",
            content=[tool_diff_content(str(folder / one.path), one.new or "", one.old) for one in patch.changes],
            locations=[ToolCallLocation(path=str(folder / path)) for path in patch.paths],
        )
        options = [
            PermissionOption(option_id=ALLOW, name="Change the files", kind="allow_once"),
            PermissionOption(option_id="reject", name="Leave them as they are", kind="reject_once"),
        ]
        answer = await self._client.request_permission(session_id=session, tool_call=call, options=options)
        return isinstance(answer.outcome, AllowedOutcome) and answer.outcome.option_id == ALLOW


def _outcome(result: TaskResult) -> str:
    if result.patch is None:
        return "The tests pass as it is; nothing was changed.\n" if result.passed else "No change was found.\n"
    lines = [*summary_of(result.patch), f"not applied: {result.refusal}" if result.refusal else "applied"]
    return "\n".join(lines) + "\n"
