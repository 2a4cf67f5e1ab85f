"""What ANALITICO does to a request: the verification instruction at its tail, or more reasoning effort.

At the tail everything before it stays in the engine's prefix cache; a changed system prompt would throw it away. FLUIDO
changes nothing: the client's own bytes go on. Never overrides what the client set itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vortex.gateway.settings import ActionSettings

MEDIUM_BELOW = 0.5  # of the budget factor


def analytic(body: Mapping[str, Any], action: ActionSettings, budget_factor: float = 1.0) -> dict[str, Any]:
    """A new request that asks for care. `budget_factor` below 1 is the controller's: it caps what care may cost."""
    changed = dict(body)
    if action.action == "reasoning_effort":
        changed.setdefault("reasoning_effort", "high" if budget_factor >= MEDIUM_BELOW else "medium")
    elif action.action == "enable_thinking":
        given = body.get("chat_template_kwargs")
        options = dict(given) if isinstance(given, dict) else {}
        changed["chat_template_kwargs"] = {"enable_thinking": True, **options}
    else:
        changed["messages"] = with_instruction(body["messages"], action)
    if budget_factor < 1.0 and not body.get("max_tokens") and not body.get("max_completion_tokens"):
        changed["max_tokens"] = max(16, round(action.analytic_budget_tokens * budget_factor))
    return changed


def with_instruction(messages: list[dict[str, Any]], action: ActionSettings) -> list[dict[str, Any]]:
    if action.inject == "system":
        return [{"role": "system", "content": action.instruction}, *messages]
    last = messages[-1]
    content = last.get("content")
    if isinstance(content, list):
        content = [*content, {"type": "text", "text": action.instruction}]
    else:
        content = f"{content or ''}\n\n{action.instruction}"
    return [*messages[:-1], {**last, "content": content}]


def with_logprobs(body: Mapping[str, Any], top_k: int) -> dict[str, Any]:
    """The client's request, with log-probabilities asked for on the side."""
    return {**body, "logprobs": True, "top_logprobs": top_k}


def probe_of(body: Mapping[str, Any], top_k: int, tokens: int) -> dict[str, Any]:
    """A question beforehand: the same prompt (its prefix is then cached for the answer), a few tokens, not streamed."""
    kept = {
        key: value for key, value in body.items() if key not in {"stream", "stream_options", "max_completion_tokens"}
    }
    return {**with_logprobs(kept, top_k), "max_tokens": tokens}
