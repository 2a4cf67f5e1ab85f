"""Tools for models whose chat template has no place for them: told in the system message, called as tagged JSON.

The form is the one that Hermes and Qwen models were trained on (`<tool_call>{"name": …, "arguments": …}</tool_call>`,
answers inside `<tool_response>`), since most parsers and many models know it. Does not parse answers.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from vortex.types import ChatMessage, ToolSpec

_INSTRUCTIONS = """You can call functions to help with the user's request. Their signatures are inside <tools></tools>:
<tools>
{signatures}
</tools>

To call one, answer with a JSON object of its name and arguments inside <tool_call></tool_call>:
<tool_call>
{{"name": "a function's name", "arguments": {{"a parameter": "a value"}}}}
</tool_call>"""


def spell_out_tools(messages: Sequence[ChatMessage], tools: Sequence[ToolSpec]) -> list[ChatMessage]:
    """The same conversation in the roles system, user and assistant alone, tools and calls written as text."""
    plain = [_as_text(message) for message in messages]
    if not tools:
        return plain
    signatures = "\n".join(
        json.dumps({"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)})
        for tool in tools
    )
    instructions = _INSTRUCTIONS.format(signatures=signatures)
    if plain and plain[0].role == "system":
        return [replace(plain[0], content=f"{plain[0].content}\n\n{instructions}".lstrip()), *plain[1:]]
    return [ChatMessage(role="system", content=instructions), *plain]


def uses_tools(messages: Sequence[ChatMessage], tools: Sequence[ToolSpec]) -> bool:
    return bool(tools) or any(message.tool_calls or message.role == "tool" for message in messages)


def _as_text(message: ChatMessage) -> ChatMessage:
    if message.role == "tool":
        return ChatMessage(role="user", content=f"<tool_response>\n{message.content}\n</tool_response>")
    if not message.tool_calls:
        return message
    calls = [
        f'<tool_call>\n{{"name": {json.dumps(call.name)}, "arguments": {call.arguments or "{}"}}}\n</tool_call>'
        for call in message.tool_calls
    ]
    content = "\n".join([message.content, *calls] if message.content else calls)
    return ChatMessage(role=message.role, content=content)
