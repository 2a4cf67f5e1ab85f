"""Calls of tools that wait for a person: for the console, for `vortex calls`, and for the agent that asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vortex.config.data_folder import data_path
from vortex.console.contracts import Json, Seen

if TYPE_CHECKING:
    from vortex.agent.patch import Patch
    from vortex.agent.tools.tool import Tool
    from vortex.records.questions import Questions


def open_questions() -> Questions:
    from vortex.records.questions import Questions

    return Questions(data_path("questions"))


class QuestionDesk:
    def waiting(self) -> Sequence[Json]:
        return [one.to_json() for one in open_questions().waiting()]

    def answer(self, seen: Seen, *, allowed: bool) -> None:
        open_questions().answer(seen.id, seen.hash, allowed=allowed)


def ask_elsewhere(tell: Callable[[str, str], None]) -> Callable[[Tool, Mapping[str, Any], str], bool]:
    """How a toolbox asks somebody at the console."""

    def ask(tool: Tool, arguments: Mapping[str, Any], reason: str) -> bool:
        tell("asks", f"{tool.name} waits for your word: vortex console")
        return open_questions().ask(tool.name, tool.effect.value, arguments, reason)

    return ask


def confirm_elsewhere(tell: Callable[[str, str], None]) -> Callable[[Patch], bool]:
    """How a task asks whether its change may be made."""

    def confirm(patch: Patch) -> bool:
        tell("asks", f"the change of {', '.join(patch.paths)} waits for your word: vortex console")
        arguments = {"paths": list(patch.paths), "diff": patch.diff}
        return open_questions().ask("change files", "write", arguments, patch.evidence.verdict)

    return confirm
