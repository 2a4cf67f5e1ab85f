"""The body of `/v1/messages`, Anthropic's wire, turned into the same conversation as a chat.

Blocks of a user's message become answers to tools and words, those of an assistant words, thoughts and calls. What
only Anthropic's own servers can do (web search, code execution, containers) is left out and said, or refused by
its name where the request would mean something else without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from vortex.errors import RequestError
from vortex.server.bodies.images import refuse_base64, refuse_url
from vortex.server.bodies.messages import CalledFunction, Message, MessageToolCall, conversation
from vortex.server.bodies.reading import Body, Items, Part
from vortex.server.bodies.sampling import MAX_TOKENS, StopString
from vortex.server.bodies.structured import (  # fmt: skip
    NAME_PATTERN,
    Function,
    as_json,
    checked_schema,
    checked_tool_choice,
    tool_specs,
)
from vortex.server.bodies.thinking import Effort, thinking_options
from vortex.server.options import ServerOptions
from vortex.types import ChatRequest

PASSED_OVER = {"redacted_thinking", "server_tool_use", "container_upload"}  # of another server's making
SCHEMA_PLACE = "tools[{}].input_schema"


class Source(Part):
    type: str
    data: str | None = None
    url: str | None = None
    media_type: str | None = None
    content: str | None = None


class Block(Part):
    """One block of any kind; which fields belong depends on the type."""

    type: str
    text: str | None = None
    thinking: str | None = None
    id: str | None = None
    name: str | None = None
    input: dict[str, Any] | None = None
    tool_use_id: str | None = None
    content: Any = None
    is_error: bool | None = None
    source: Source | str | None = None
    title: str | None = None


class AnthropicMessage(Part):
    role: Literal["user", "assistant", "system"]
    content: str | Items[Block]


class AnthropicTool(Part):
    """A tool of the client's, or (with another type) one that Anthropic runs."""

    name: str | None = Field(default=None, pattern=NAME_PATTERN)
    type: str | None = None
    description: str | None = None
    input_schema: dict[str, Any] | None = None
    strict: bool | None = None


class ToolChoice(Part):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class Thinking(Part):
    type: Literal["enabled", "disabled", "adaptive", "between_tools"]
    budget_tokens: int | None = Field(default=None, ge=1, le=MAX_TOKENS)


class OutputFormat(Part):
    type: Literal["json_schema"]
    schema_: dict[str, Any] = Field(alias="schema")


class OutputConfig(Part):
    effort: Effort | None = None
    format: OutputFormat | None = None


class CountBody(Body):
    """What is counted: a prompt and nothing about its answer."""

    messages: Annotated[Items[AnthropicMessage], Field(min_length=1)]
    model: str | None = None
    system: str | Items[Block] | None = None
    tools: Items[AnthropicTool] | None = None
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None

    refused: ClassVar[Mapping[str, str]] = {
        "mcp_servers": "this server calls no other servers; let the client call them as tools",
        "container": "this server runs no code; let the client run it as a tool",
    }

    def chat_messages(self) -> list[Message]:
        """The conversation in the shape that all wires share. RequestError naming the block that cannot be read."""
        system = _words(self.system, "system") if self.system else ""
        messages = [Message(role="system", content=system)] if system else []
        for index, message in enumerate(self.messages):
            place = f"messages[{index}]"
            messages += [one if one.place else one.at(place) for one in _turn(message, place)]
        return messages

    def prompt_request(self, request_id: str, options: ServerOptions) -> ChatRequest:
        """RequestError where fields do not fit each other or go beyond the limits."""
        limits = options.limits
        if len(self.messages) > limits.messages:
            raise RequestError(f"more than {limits.messages} messages", param="messages")
        tools = tool_specs([_function(tool, index) for index, tool in self.own_tools()], limits, SCHEMA_PLACE)
        choice = self.tool_choice or ToolChoice(type="auto")
        if choice.type == "tool" and choice.name is None:
            raise RequestError("'tool_choice' of type 'tool' needs a 'name'", param="tool_choice.name")
        wanted = {"any": "required", "tool": choice.name}.get(choice.type, choice.type)
        output = self.output_config or OutputConfig()
        schema = output.format.schema_ if output.format else None
        return ChatRequest(
            request_id=request_id,
            model=self.model,
            messages=conversation(self.chat_messages()),
            tools=tools,
            tool_choice=checked_tool_choice(wanted, tools) if tools else "auto",
            parallel_tool_calls=choice.disable_parallel_tool_use is False,
            json_schema=None if schema is None else checked_schema(schema, limits, "output_config.format.schema"),
            strict_schema=False,
            template_options=thinking_options(output.effort, self._wants_thinking()),
        )

    def own_tools(self) -> list[tuple[int, AnthropicTool]]:
        """The client's tools, with their places."""
        return [(i, tool) for i, tool in enumerate(self.tools or ()) if tool.type in (None, "custom")]

    def notes(self) -> tuple[str, ...]:
        """What of the request is not done."""
        kinds = {tool.type for tool in self.tools or () if tool.type not in (None, "custom")}
        return tuple(f"the tool '{kind}' is not had here and was left out" for kind in sorted(map(str, kinds)))

    def _wants_thinking(self) -> bool | None:
        """Without a word the model does not think, as with Anthropic."""
        if self.thinking is None:
            return False
        return None if self.thinking.type == "adaptive" else self.thinking.type != "disabled"


class MessagesBody(CountBody):
    max_tokens: int = Field(ge=1, le=MAX_TOKENS)
    stream: bool | None = None
    stop_sequences: Annotated[Items[StopString], Field(max_length=16)] | None = None
    temperature: float | None = Field(default=None, ge=0, le=1)
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=0, le=MAX_TOKENS)

    def to_request(self, request_id: str, options: ServerOptions) -> ChatRequest:
        """RequestError where fields do not fit each other or go beyond the limits."""
        given = {"temperature": self.temperature, "top_p": self.top_p, "top_k": self.top_k}
        sampling: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        budget = self.thinking.budget_tokens if self.thinking and self.thinking.type == "enabled" else None
        if budget is not None and budget >= self.max_tokens:
            reason = f"'thinking.budget_tokens' is {budget}, which must be less than 'max_tokens' ({self.max_tokens})"
            raise RequestError(reason, param="thinking.budget_tokens")
        return replace(
            self.prompt_request(request_id, options),
            sampling=replace(options.sampling_for(self.model), **sampling),
            max_tokens=self.max_tokens,
            stop=tuple(self.stop_sequences or ()),
            thinking_tokens=budget,
        )


def _function(tool: AnthropicTool, index: int) -> Function:
    if tool.name is None:
        raise RequestError("the name is missing", param=f"tools[{index}].name")
    return Function.model_construct(
        name=tool.name, description=tool.description, parameters=tool.input_schema, strict=tool.strict
    )


def _turn(message: AnthropicMessage, param: str) -> list[Message]:
    """One message as one or several: answers to tools come before the words beside them."""
    if isinstance(message.content, str):
        return [Message(role=message.role, content=message.content)]
    answers, words, thoughts, calls = [], [], [], []
    for index, block in enumerate(message.content):
        place = f"{param}.content[{index}]"
        if block.type == "tool_result":
            answers.append(_answer(block, place).at(f"{place}.tool_use_id"))
        elif block.type == "tool_use":
            calls.append(_call(block, place))
        elif block.type == "thinking":
            thoughts.append(block.thinking or "")
        elif block.type not in PASSED_OVER and not block.type.endswith("_tool_result"):
            words.append(_text(block, place))
    if calls and message.role != "assistant":
        raise RequestError("only an assistant message has tool_use blocks", param=f"{param}.content")
    text = "\n".join(words)
    if message.role == "assistant":
        thought = "\n".join(thoughts) or None
        return [Message(role="assistant", content=text, tool_calls=calls or None, reasoning_content=thought)]
    return [*answers, *([Message(role=message.role, content=text)] if words or not answers else [])]


def _answer(block: Block, place: str) -> Message:
    if block.tool_use_id is None:
        raise RequestError("a tool_result needs a 'tool_use_id'", param=f"{place}.tool_use_id")
    content = block.content
    if isinstance(content, list):
        try:
            parts = [Block.model_validate(part, strict=True) for part in _objects(content, f"{place}.content")]
        except ValueError:
            raise RequestError("a block cannot be read", param=f"{place}.content") from None
        content = _words(parts, f"{place}.content")
    elif content is not None and not isinstance(content, str):
        raise RequestError("the content of a tool_result is text or a list of blocks", param=f"{place}.content")
    text = f"Error: {content or ''}" if block.is_error else content or ""
    return Message(role="tool", tool_call_id=block.tool_use_id, content=text)


def _objects(parts: list[Any], place: str) -> list[dict[str, Any]]:
    for index, part in enumerate(parts):
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            raise RequestError("a block is an object with a 'type'", param=f"{place}[{index}]")
    return [{key: part[key] for key in ("type", "text", "source", "title", "content") if key in part} for part in parts]


def _call(block: Block, place: str) -> MessageToolCall:
    if block.id is None or block.name is None or block.input is None:
        raise RequestError("a tool_use block needs 'id', 'name' and 'input'", param=place)
    arguments = as_json(block.input)
    return MessageToolCall(id=block.id, function=CalledFunction(name=block.name, arguments=arguments))


def _words(content: str | list[Block] | None, place: str) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(_text(block, f"{place}[{index}]") for index, block in enumerate(content))


def _text(block: Block, place: str) -> str:
    """RequestError for what no text can be made of."""
    source = block.source
    if block.type == "text":
        return block.text or ""
    if block.type == "image" and isinstance(source, Source):
        if source.url is not None:
            raise refuse_url(source.url, f"{place}.source.url")
        raise refuse_base64(source.data or "", f"{place}.source.data")
    if block.type == "document" and isinstance(source, Source) and source.type in ("text", "content"):
        return "\n".join(filter(None, [block.title, source.data or source.content]))
    if block.type == "search_result" and isinstance(block.content, list):
        found = [part.get("text", "") for part in block.content if isinstance(part, dict)]
        return "\n".join([block.title or "", *map(str, found)])
    if block.type == "tool_reference":
        return ""
    reason = f"blocks of type {block.type!r} are not supported: this model reads text alone"
    raise RequestError(reason, param=f"{place}.type", code="unsupported_content")
