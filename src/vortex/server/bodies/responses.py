"""The body of `/v1/responses`, turned into the same conversation as a chat.

Tolerant, since clients send what OpenAI's own servers can do: tools and history items of kinds that are not had here
are left out and said in the answer's metadata. Items that carry a conversation (messages, calls of any kind and their
outputs, reasoning) are read; what went before may be named by `previous_response_id`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from vortex.errors import RequestError
from vortex.server.bodies.extension import Extension
from vortex.server.bodies.messages import CalledFunction, ContentPart, Message, MessageToolCall, conversation
from vortex.server.bodies.reading import Body, Items, Part
from vortex.server.bodies.sampling import MAX_TOKENS
from vortex.server.bodies.structured import (  # fmt: skip
    NAME_PATTERN,
    Function,
    JsonSchema,
    ResponseFormat,
    as_json,
    checked_tool_choice,
    schema_of,
    tool_specs,
)
from vortex.server.bodies.thinking import Effort, thinking_options
from vortex.server.options import ServerOptions
from vortex.types import ChatRequest, ToolSpec

SCHEMA_PLACE = "tools[{}].parameters"
CALLS = {"function_call", "custom_tool_call", "local_shell_call", "shell_call", "apply_patch_call", "mcp_call"}


class InputItem(Part):
    """A message, a call of any kind, its output, or what the model thought; which fields belong depends on the type."""

    type: str = "message"
    role: Literal["system", "developer", "user", "assistant", "tool"] | None = None
    content: str | Items[ContentPart] | None = None
    call_id: str | None = None
    id: str | None = None
    name: str | None = None
    arguments: str | None = None
    input: Any = None  # of a custom tool's call
    action: Any = None  # of a shell's
    operation: Any = None  # of a patch
    output: Any = None
    summary: Items[ContentPart] | None = None


class AnyTool(Part):
    """A function, or a tool of another kind, which is left out."""

    type: str
    name: str | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class AnyChoice(Part):
    type: str
    name: str | None = None
    mode: Literal["auto", "required"] | None = None
    tools: list[Any] | None = None

    def allowed(self, tools: tuple[ToolSpec, ...]) -> tuple[ToolSpec, ...]:
        """Those that `allowed_tools` names; all of them for any other choice."""
        if self.type != "allowed_tools":
            return tools
        names = [one.get("name") for one in self.tools or () if isinstance(one, dict)]
        return tuple(tool for tool in tools if tool.name in names)


class TextFormat(Part):
    type: Literal["text", "json_object", "json_schema"] = "text"
    name: str | None = None
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")
    strict: bool | None = None


class TextOptions(Part):
    format: TextFormat | None = None


class Reasoning(Part):
    effort: Effort | None = None


class ResponsesBody(Body):
    input: str | Annotated[Items[InputItem], Field(min_length=1)]
    model: str | None = None
    instructions: str | None = None
    previous_response_id: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    max_output_tokens: int | None = Field(default=None, ge=-1, le=MAX_TOKENS)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    stream: bool | None = None
    store: bool | None = None
    tools: Items[AnyTool] | None = None
    tool_choice: Literal["auto", "none", "required"] | AnyChoice | None = None
    parallel_tool_calls: bool | None = None
    text: TextOptions | None = None
    reasoning: Reasoning | None = None
    metadata: dict[str, str] | None = None
    vortex: Extension | None = None

    refused: ClassVar[Mapping[str, str]] = {
        "conversation": "conversations are not kept; send 'previous_response_id', or the whole of it as 'input'",
        "background": "answers come while the connection is open",
        "prompt": "there are no stored prompts; send 'input'",
    }

    def to_request(self, request_id: str, options: ServerOptions, before: Sequence[Message] = ()) -> ChatRequest:
        """before: the conversation that `previous_response_id` names. RequestError for what does not fit."""
        functions = self.functions()
        tools = tool_specs(functions, options.limits, SCHEMA_PLACE)
        schema, is_strict = schema_of(self._format(), options.limits)
        own = [tool for tool in self.tools or () if tool.type == "function"]
        for tool, spec in zip(own, tools, strict=True):
            tool.parameters = dict(spec.parameters)  # the answer shows them again, with numbers that JSON can hold
        if self.text and self.text.format and schema is not None and self.text.format.schema_ is not None:
            self.text.format.schema_ = schema
        if isinstance(self.tool_choice, AnyChoice):
            tools = self.tool_choice.allowed(tools)
        sampling = options.sampling_for(self.model)
        if self.temperature is not None:
            sampling = replace(sampling, temperature=self.temperature)
        if self.top_p is not None:
            sampling = replace(sampling, top_p=self.top_p)
        return ChatRequest(
            request_id=request_id,
            model=self.model,
            messages=conversation(self.messages(before)),
            sampling=sampling,
            max_tokens=self.max_output_tokens,
            tools=tools,
            tool_choice=self._choice(tools),
            parallel_tool_calls=bool(self.parallel_tool_calls),
            json_schema=schema,
            strict_schema=is_strict,
            template_options=thinking_options(self.reasoning.effort if self.reasoning else None),
        )

    def functions(self) -> list[Function]:
        """The tools that are had: functions. RequestError for one without a usable name."""
        found = []
        for index, tool in enumerate(self.tools or ()):
            if tool.type != "function":
                continue
            try:
                found.append(Function.model_validate(tool.model_dump(exclude={"type"}), strict=True))
            except ValueError:
                reason = f"a function's name is letters, digits, '_' and '-', at most 128 ({NAME_PATTERN})"
                raise RequestError(reason, param=f"tools[{index}].name") from None
        return found

    def notes(self) -> tuple[str, ...]:
        """What of the request is not done."""
        tools = sorted({tool.type for tool in self.tools or () if tool.type != "function"})
        items = () if isinstance(self.input, str) else self.input
        skipped = sorted({item.type for item in items if not _is_read(item)})
        return (
            *(f"tools of type '{kind}' are not had here and were left out" for kind in tools),
            *(f"items of type '{kind}' were passed over" for kind in skipped),
        )

    def messages(self, before: Sequence[Message] = ()) -> list[Message]:
        """The items as chat messages; calls that follow one another belong to one assistant message."""
        messages = [Message(role="system", content=self.instructions)] if self.instructions else []
        messages += [message for message in before if not (self.instructions and message.role == "system")]
        if isinstance(self.input, str):
            return [*messages, Message(role="user", content=self.input)]
        thought = ""
        for index, item in enumerate(self.input):
            if item.type == "item_reference":
                reason = "an item cannot be named alone; send it, or name the whole answer by 'previous_response_id'"
                raise RequestError(reason, param=f"input[{index}].id")
            if item.type == "reasoning":
                parts = item.content if isinstance(item.content, list) else item.summary or []
                thought = "\n".join(part.text or "" for part in parts)
            elif item.type in CALLS:
                _add_call(messages, _call(item, index), thought, f"input[{index}]")
                thought = ""
            elif item.type.endswith("_output"):
                messages.append(_output(item, index).at(f"input[{index}].call_id"))
            elif item.type == "message":
                if item.role is None:
                    raise RequestError("the role is missing", param=f"input[{index}].role")
                own = item.role == "assistant"
                reasoning = thought or None if own else None
                message = Message(role=item.role, content=_content(item, index), reasoning_content=reasoning)
                messages.append(message.at(f"input[{index}]"))
                thought = "" if own else thought
        return messages

    def _choice(self, tools: Sequence[Any]) -> str:
        choice = _named(self.tool_choice) if isinstance(self.tool_choice, AnyChoice) else self.tool_choice
        if not tools and self.tools and choice in ("auto", "none", None):
            return "auto"
        return checked_tool_choice(choice, tuple(tools))

    def _format(self) -> ResponseFormat | None:
        wanted = self.text.format if self.text else None
        if wanted is None:
            return None
        schema = None
        if wanted.type == "json_schema":
            schema = JsonSchema.model_construct(name="answer", schema_=wanted.schema_, strict=wanted.strict)
        return ResponseFormat(type=wanted.type, json_schema=schema)


def _named(choice: AnyChoice) -> str:
    if choice.type == "allowed_tools":
        return choice.mode or "auto"
    if choice.type != "function":
        reason = f"'tool_choice' of type {choice.type!r} names a tool that is not had here"
        raise RequestError(reason, param="tool_choice.type")
    if choice.name is None:
        raise RequestError("the name is missing", param="tool_choice.name")
    return choice.name


def _is_read(item: InputItem) -> bool:
    return item.type in (*CALLS, "message", "reasoning", "item_reference") or item.type.endswith("_output")


def _content(item: InputItem, index: int) -> str | list[ContentPart]:
    if item.content is None:
        raise RequestError("the content is missing", param=f"input[{index}].content")
    return item.content


def _add_call(messages: list[Message], call: MessageToolCall, thought: str, place: str) -> None:
    last = messages[-1] if messages else None
    if last is not None and last.role == "assistant":
        last.tool_calls = [*(last.tool_calls or ()), call]
        last.reasoning_content = "\n".join(filter(None, [last.reasoning_content, thought])) or None
    else:
        messages.append(Message(role="assistant", tool_calls=[call], reasoning_content=thought or None).at(place))


def _call(item: InputItem, index: int) -> MessageToolCall:
    """A call of any kind as one of a function: the model reads what was asked for, whatever it was called."""
    call_id = item.call_id or item.id
    arguments, name = item.arguments, item.name
    if item.type != "function_call":
        given: Any = next((value for value in (item.input, item.action, item.operation) if value is not None), {})
        arguments = arguments or as_json(given if isinstance(given, dict) else {"input": given})
        name = name or item.type.removesuffix("_call")
    if call_id is None or name is None or arguments is None:
        reason = f"a {item.type} needs 'call_id', 'name' and 'arguments'"
        raise RequestError(reason, param=f"input[{index}]")
    return MessageToolCall(id=call_id, function=CalledFunction(name=name, arguments=arguments))


def _output(item: InputItem, index: int) -> Message:
    """The output of a call: text, parts with text, or anything else as JSON."""
    output, place = item.output, f"input[{index}].output"
    if output is None:
        raise RequestError("the output is missing", param=place)
    if isinstance(output, list) and all(isinstance(part, dict) and "type" in part for part in output):
        try:
            output = [ContentPart.model_validate(part, strict=True) for part in output]
        except ValueError:
            raise RequestError("the output's parts are not readable", param=place) from None
    elif not isinstance(output, str):
        output = as_json(output)
    return Message(role="tool", tool_call_id=item.call_id or item.id, content=output)
