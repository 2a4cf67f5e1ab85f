"""The body of `/v1/responses`: its stateless core, turned into the same ChatRequest as a chat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from vortex.errors import RequestError
from vortex.server.bodies.extension import Extension
from vortex.server.bodies.messages import CalledFunction, ContentPart, Message, MessageToolCall, conversation
from vortex.server.bodies.reading import Body, Items, Part
from vortex.server.bodies.sampling import MAX_TOKENS
from vortex.server.bodies.structured import (  # fmt: skip
    Function,
    JsonSchema,
    ResponseFormat,
    checked_tool_choice,
    schema_of,
    tool_specs,
)
from vortex.server.options import ServerOptions
from vortex.types import ChatRequest, SamplingOptions


class InputItem(Part):
    """A message, a call the model made, or a call's output; which fields belong depends on the type."""

    type: Literal["message", "function_call", "function_call_output", "reasoning", "item_reference"] = "message"
    role: Literal["system", "developer", "user", "assistant"] | None = None
    content: str | Items[ContentPart] | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    output: str | Items[ContentPart] | None = None


class FunctionTool(Function):
    type: Literal["function"]


class NamedTool(Part):
    type: Literal["function"]
    name: str


class TextFormat(Part):
    type: Literal["text", "json_object", "json_schema"] = "text"
    name: str | None = None
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")
    strict: bool | None = None


class TextOptions(Part):
    format: TextFormat | None = None


class Reasoning(Part):
    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None


class ResponsesBody(Body):
    input: str | Annotated[Items[InputItem], Field(min_length=1)]
    model: str | None = None
    instructions: str | None = None
    max_output_tokens: int | None = Field(default=None, ge=-1, le=MAX_TOKENS)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    stream: bool | None = None
    tools: Items[FunctionTool] | None = None
    tool_choice: Literal["auto", "none", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    text: TextOptions | None = None
    reasoning: Reasoning | None = None
    vortex: Extension | None = None

    refused: ClassVar[Mapping[str, str]] = {
        "previous_response_id": "nothing is kept between requests; send the whole conversation as 'input'",
        "conversation": "nothing is kept between requests; send the whole conversation as 'input'",
        "background": "answers come while the connection is open",
        "prompt": "there are no stored prompts; send 'input'",
    }

    def to_request(self, request_id: str, options: ServerOptions) -> ChatRequest:
        tools = tool_specs(list(self.tools or ()), options.limits)
        choice = self.tool_choice.name if isinstance(self.tool_choice, NamedTool) else self.tool_choice
        schema, is_strict = schema_of(self._format(), options.limits)
        for tool, spec in zip(self.tools or (), tools, strict=True):
            tool.parameters = dict(spec.parameters)  # the answer shows them again, with numbers that JSON can hold
        if self.text and self.text.format and schema is not None and self.text.format.schema_ is not None:
            self.text.format.schema_ = schema
        effort = self.reasoning.effort if self.reasoning else None
        given = {"temperature": self.temperature, "top_p": self.top_p}
        return ChatRequest(
            request_id=request_id,
            model=self.model,
            messages=conversation(self.messages()),
            sampling=_sampling(options.sampling_for(self.model), {k: v for k, v in given.items() if v is not None}),
            max_tokens=self.max_output_tokens,
            tools=tools,
            tool_choice=checked_tool_choice(choice, tools),
            parallel_tool_calls=bool(self.parallel_tool_calls),
            json_schema=schema,
            strict_schema=is_strict,
            template_options={"reasoning_effort": effort} if effort else {},
        )

    def messages(self) -> list[Message]:
        """The items as chat messages; calls that follow one another belong to one assistant message."""
        messages = [Message(role="system", content=self.instructions)] if self.instructions else []
        if isinstance(self.input, str):
            return [*messages, Message(role="user", content=self.input)]
        for index, item in enumerate(self.input):
            if item.type == "item_reference":
                raise RequestError("nothing is kept between requests", param=f"input[{index}].type")
            if item.type == "function_call":
                call = _call(item, index)
                last = messages[-1] if messages else None
                if last is not None and last.role == "assistant":
                    last.tool_calls = [*(last.tool_calls or ()), call]
                else:
                    messages.append(Message(role="assistant", tool_calls=[call]))
            elif item.type == "function_call_output":
                messages.append(Message(role="tool", tool_call_id=item.call_id, content=item.output))
            elif item.type == "message":
                if item.role is None:
                    raise RequestError("the role is missing", param=f"input[{index}].role")
                messages.append(Message(role=item.role, content=item.content))
        return messages

    def _format(self) -> ResponseFormat | None:
        wanted = self.text.format if self.text else None
        if wanted is None:
            return None
        schema = None
        if wanted.type == "json_schema":
            schema = JsonSchema.model_construct(name="answer", schema_=wanted.schema_, strict=wanted.strict)
        return ResponseFormat(type=wanted.type, json_schema=schema)


def _call(item: InputItem, index: int) -> MessageToolCall:
    if item.call_id is None or item.name is None or item.arguments is None:
        reason = "a function_call needs 'call_id', 'name' and 'arguments'"
        raise RequestError(reason, param=f"input[{index}]")
    return MessageToolCall(id=item.call_id, function=CalledFunction(name=item.name, arguments=item.arguments))


def _sampling(defaults: SamplingOptions, given: dict[str, float]) -> SamplingOptions:
    from dataclasses import replace

    return replace(defaults, **given)  # type: ignore[arg-type]  # keys are field names of type float
