"""A chat format for a model that answers better when it is told to: a system message where a conversation has none."""

from __future__ import annotations

from collections.abc import Sequence

from vortex.protocols import ChatFormat
from vortex.types import ChatMessage, ToolSpec

TELLING_ROLES = frozenset({"system", "developer"})


class WithSystem:
    """Writes like `inner`; a conversation that tells the model nothing begins with `system`."""

    def __init__(self, inner: ChatFormat, system: str) -> None:
        self._inner = inner
        self._told = ChatMessage(role="system", content=system)

    def encode(self, messages: Sequence[ChatMessage], tools: Sequence[ToolSpec] = (), **options: object) -> list[int]:
        if not any(message.role in TELLING_ROLES for message in messages):
            messages = [self._told, *messages]
        return self._inner.encode(messages, tools, **options)
