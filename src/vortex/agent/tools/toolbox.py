"""A set of tools and who may call them: allow, ask or block, by tool or by effect.

Promises: a call that is not allowed does nothing and says why; whoever is asked sees the arguments; once a result held
untrusted words, effects that could carry orders out of the task (commands, memory, the network, other programs' tools)
need a person for each call, whatever was allowed before. With nobody to ask, they are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from vortex.agent.tools.arguments import read_arguments
from vortex.agent.tools.tool import Effect, Tool, ToolError, ToolResult, Trust
from vortex.errors import VortexError
from vortex.types import ToolSpec


class Permission(StrEnum):
    ALLOW = "allow"
    ASK = "ask"
    BLOCK = "block"


DEFAULTS: Mapping[Effect, Permission] = {
    Effect.READ: Permission.ALLOW,
    Effect.WRITE: Permission.ASK,
    Effect.TEST: Permission.ALLOW,
    Effect.COMMAND: Permission.ASK,
    Effect.REMEMBER: Permission.ALLOW,
    Effect.NETWORK: Permission.ALLOW,  # the web has its own switch and list of domains
    Effect.FOREIGN: Permission.ASK,
}
GUARDED_AFTER_UNTRUSTED = frozenset({Effect.COMMAND, Effect.REMEMBER, Effect.NETWORK, Effect.FOREIGN})
# Calls that reach beyond the folder are shown, also where nobody has to be asked.
SHOWN = frozenset({Effect.COMMAND, Effect.REMEMBER, Effect.NETWORK, Effect.FOREIGN})
Ask = Callable[[Tool, Mapping[str, Any], str], bool]
Show = Callable[[Tool, Mapping[str, Any]], None]


def nobody(_tool: Tool, _arguments: Mapping[str, Any], _reason: str) -> bool:
    """There is no person here: the answer is no."""
    return False


@dataclass
class Toolbox:
    """`by_tool` goes before `by_effect`. `ask` gets the tool, its arguments and why it is asked; `show` gets every call
    that reaches beyond the folder and is about to be made."""

    tools: Mapping[str, Tool]
    by_effect: Mapping[Effect, Permission] = field(default_factory=lambda: dict(DEFAULTS))
    by_tool: Mapping[str, Permission] = field(default_factory=dict)
    ask: Ask = nobody
    seen_untrusted: bool = False
    show: Show = lambda _tool, _arguments: None

    @classmethod
    def of(cls, tools: Iterable[Tool], ask: Ask = nobody) -> Toolbox:
        found: dict[str, Tool] = {}
        for tool in tools:
            assert tool.name not in found, f"two tools are called {tool.name}"
            found[tool.name] = tool
        return cls(found, ask=ask)

    def specs(self) -> tuple[ToolSpec, ...]:
        """What a model is offered: no tool that is blocked."""
        return tuple(tool.spec() for tool in self.tools.values() if self.permission(tool) is not Permission.BLOCK)

    def permission(self, tool: Tool) -> Permission:
        given = self.by_tool.get(tool.name, self.by_effect.get(tool.effect, Permission.ASK))
        if self.seen_untrusted and tool.effect in GUARDED_AFTER_UNTRUSTED and given is Permission.ALLOW:
            return Permission.ASK
        return given

    def call(self, name: str, arguments: str) -> ToolResult:
        """Serve one call. A call that cannot or may not be served is a result too, with `ok` False."""
        tool = self.tools.get(name)
        if tool is None:
            return _failed(f"there is no tool {name!r}; there are: {', '.join(self.tools)}")
        try:
            checked = read_arguments(arguments, tool.parameters)
            refusal = self._refusal(tool, checked)
            if refusal:
                return _failed(refusal)
            if tool.effect in SHOWN:
                self.show(tool, checked)
            result = tool.run(checked)
        except VortexError as error:
            return _failed(str(error))
        if result.trust is Trust.UNTRUSTED:
            self.seen_untrusted = True
        return result

    def _refusal(self, tool: Tool, arguments: Mapping[str, Any]) -> str:
        permission = self.permission(tool)
        if permission is Permission.BLOCK:
            return f"{tool.name} is not allowed here"
        if permission is Permission.ALLOW:
            return ""
        guarded = self.seen_untrusted and tool.effect in GUARDED_AFTER_UNTRUSTED
        reason = "words from outside were read before this call" if guarded else f"{tool.name} asks first"
        return "" if self.ask(tool, arguments, reason) else f"{tool.name} was not allowed: {reason}"


def permissions_given(words: Mapping[str, Permission]) -> tuple[dict[Effect, Permission], dict[str, Permission]]:
    """What a person allowed, asks or blocks by a word each: the name of an effect, or else of a tool."""
    effects = {effect.value for effect in Effect}
    by_effect = {Effect(word): permission for word, permission in words.items() if word in effects}
    return by_effect, {word: permission for word, permission in words.items() if word not in effects}


def _failed(line: str) -> ToolResult:
    return ToolResult(line, ok=False)


__all__ = ["DEFAULTS", "Ask", "Permission", "Show", "ToolError", "Toolbox", "nobody", "permissions_given"]
