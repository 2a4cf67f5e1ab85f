"""A conversation as clients send it: contents as text or parts, tool calls and their answers in their right order."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import PrivateAttr

from vortex.errors import RequestError
from vortex.server.bodies.images import refuse_url
from vortex.server.bodies.reading import Items, Part
from vortex.types import ChatMessage, ToolCall


class ImageUrl(Part):
    url: str


class ContentPart(Part):
    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: str | ImageUrl | None = None


class CalledFunction(Part):
    name: str
    arguments: str


class MessageToolCall(Part):
    id: str
    type: Literal["function"] = "function"
    function: CalledFunction


class Message(Part):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | Items[ContentPart] | None = None
    name: str | None = None
    tool_calls: Items[MessageToolCall] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None  # an assistant's thoughts, as they came with its answer
    reasoning: str | None = None  # the same by another name
    _place: str = PrivateAttr(default="")

    def at(self, place: str) -> Self:
        """The same, remembering where in the body it stood, for errors."""
        self._place = place
        return self

    @property
    def place(self) -> str:
        return self._place


def conversation(messages: list[Message]) -> tuple[ChatMessage, ...]:
    """The messages as values. RequestError where a content is missing or a tool's answer is out of place."""
    waiting: set[str] = set()  # calls of the last assistant message that no tool message has answered yet
    for index, message in enumerate(messages):
        param = message.place or f"messages[{index}]"
        if message.role == "tool":
            if message.tool_call_id not in waiting:
                reason = "a tool message must answer a call of the assistant message before it, each once"
                raise RequestError(reason, param=message.place or f"{param}.tool_call_id")
            waiting.discard(message.tool_call_id)
        elif waiting:
            raise RequestError(f"the tool calls {sorted(waiting)} are not answered before this message", param=param)
        if message.role == "assistant":
            waiting = {call.id for call in message.tool_calls or ()}
        elif message.tool_calls:
            raise RequestError("only an assistant message has tool calls", param=f"{param}.tool_calls")
        if message.content is None and not (message.role == "assistant" and message.tool_calls):
            raise RequestError("the content is missing", param=f"{param}.content")
    if waiting:
        raise RequestError(f"the tool calls {sorted(waiting)} are not answered", param="messages")
    return tuple(_message(message, index) for index, message in enumerate(messages))


def _message(message: Message, index: int) -> ChatMessage:
    calls = tuple(
        ToolCall(id=call.id, name=call.function.name, arguments=call.function.arguments)
        for call in message.tool_calls or ()
    )
    return ChatMessage(
        role="system" if message.role == "developer" else message.role,
        content=text_of(message.content, f"{message.place or f'messages[{index}]'}.content"),
        name=message.name,
        tool_calls=calls,
        tool_call_id=message.tool_call_id,
        reasoning=(message.reasoning_content or message.reasoning or "") if message.role == "assistant" else "",
    )


def text_of(content: str | list[ContentPart] | None, param: str) -> str:
    """Parts joined by line ends. Images, sound and files are refused: the models here read text."""
    if content is None or isinstance(content, str):
        return content or ""
    for index, part in enumerate(content):
        if part.image_url is not None and part.type in ("image_url", "input_image"):
            url = part.image_url if isinstance(part.image_url, str) else part.image_url.url
            raise refuse_url(url, f"{param}[{index}].image_url")
        if part.type not in ("text", "refusal", "input_text", "output_text"):
            reason = f"parts of type {part.type!r} are not supported: this model reads text alone"
            raise RequestError(reason, param=f"{param}[{index}].type", code="unsupported_content")
    return "\n".join(part.text or part.refusal or "" for part in content)
