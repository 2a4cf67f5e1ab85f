"""How a request says whether and how long the model thinks, in the words that templates know."""

from __future__ import annotations

from typing import Any, Literal

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


def thinking_options(effort: str | None, wanted: bool | None = None) -> dict[str, Any]:
    """Template options: `reasoning_effort` (gpt-oss), `enable_thinking` (Qwen, GLM, SmolLM3), `thinking` (DeepSeek,
    Granite). Without a word nothing is set, and the model does as its template has it."""
    if wanted is None and effort is not None:
        wanted = effort != "none"
    options: dict[str, Any] = {} if effort is None else {"reasoning_effort": effort}
    return options if wanted is None else options | {"enable_thinking": wanted, "thinking": wanted}
