"""What a chat request is, seen from outside: its last user turn, its conversation, and why hands must be off it.

Immunity: the user interface's own calls (titles, tags, follow-ups) are known by header or by the shape of their prompt.
Never touched: JSON-schema requests, tool-result turns, n > 1, log-probabilities the client asked for, answers to be
continued. Does not do: decide.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TASK_HEADERS = (b"x-openwebui-task", b"x-lkn-task")
CHAT_HEADERS = (b"x-openwebui-chat-id", b"x-lkn-conversation")
TASK_OPENING = "### Task:"
TASK_MARKS = ("### Guidelines:", "### Output:", "### Chat History:", "<chat_history>")
STRUCTURED_KEYS = ("guided_json", "guided_regex", "guided_grammar", "json_schema", "grammar", "regex", "ebnf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """`task` names a user interface's own call; `exempt` says why a request is left as it is ("" when it is not)."""

    stream: bool
    task: str
    exempt: str
    text: str  # the user's last turn
    conversation: str  # what is the same for every turn of one conversation
    turns: int


def examine(body: Mapping[str, Any], headers: Mapping[bytes, bytes], *, immunity: bool) -> Facts:
    given = body.get("messages")
    messages = [message for message in given if isinstance(message, dict)] if isinstance(given, list) else []
    users = [message for message in messages if message.get("role") == "user"]
    text = text_of(users[-1]) if users else ""
    task = task_of(headers, text) if immunity else ""
    return Facts(
        stream=body.get("stream") is True,
        task=task,
        exempt=f"task:{task}" if task else untouchable(body, messages),
        text=text,
        conversation=conversation_of(headers, messages, users),
        turns=len(users),
    )


def text_of(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = [part.get("text") for part in parts if isinstance(part, dict) and part.get("type") == "text"]
    return "\n".join(text for text in texts if isinstance(text, str))


def task_of(headers: Mapping[bytes, bytes], text: str) -> str:
    """The user interface's task, "" for a person's turn. An unfilled `{{TASK}}` template is none."""
    for name in TASK_HEADERS:
        value = headers.get(name, b"").decode("latin-1").strip()
        if value and value.lower() != "none" and not value.startswith("{{"):
            return value[:40]
    head = text[:2000].lstrip()
    if head.startswith(TASK_OPENING) and any(mark in text[:20_000] for mark in TASK_MARKS):
        return "prompt_shape"
    return ""


def untouchable(body: Mapping[str, Any], messages: list[dict[str, Any]]) -> str:
    response_format = body.get("response_format")
    if isinstance(response_format, dict) and response_format.get("type", "text") != "text":
        return "structured_output"
    if any(body.get(key) for key in STRUCTURED_KEYS):
        return "structured_output"
    if isinstance(body.get("n"), int) and body["n"] > 1:
        return "several_choices"
    if body.get("logprobs") or body.get("top_logprobs"):
        return "client_logprobs"
    if messages != body.get("messages"):
        return "malformed"  # the engine says what is wrong with it
    last = messages[-1].get("role") if messages else None
    if last in {"tool", "function"}:
        return "tool_result"
    if last != "user":
        return "no_user_turn"
    return "" if isinstance(messages[-1].get("content"), str | list) else "malformed"


def conversation_of(headers: Mapping[bytes, bytes], messages: list[dict[str, Any]], users: list[dict[str, Any]]) -> str:
    """The client's own id where it tells one, else what opened the conversation."""
    for name in CHAT_HEADERS:
        if value := headers.get(name, b"").decode("latin-1").strip():
            return value[:200]
    system = next((text_of(message) for message in messages if message.get("role") == "system"), "")
    first = text_of(users[0]) if users else ""
    return f"{system[:2000]}\n{first[:8000]}"
