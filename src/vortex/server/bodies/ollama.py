"""The bodies of Ollama's wire: `/api/chat`, `/api/generate`, `/api/embed`, `/api/show`.

Ollama's calls have no ids: answers of tools belong to the calls before them in order. Streams are on unless they are
turned off. What manages models (pull, create, delete) does not exist here: `vortex models` does that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AliasChoices, Field

from vortex.errors import RequestError
from vortex.server.bodies.images import refuse_base64
from vortex.server.bodies.messages import CalledFunction, Message, MessageToolCall, conversation
from vortex.server.bodies.reading import Body, Items, Part
from vortex.server.bodies.sampling import MAX_TOKENS, StopString
from vortex.server.bodies.structured import Tool, as_json, checked_schema, tool_specs
from vortex.server.bodies.thinking import thinking_options
from vortex.server.options import ServerOptions
from vortex.types import ChatRequest

LATEST = ":latest"  # Ollama's clients put it behind every name


class OllamaFunction(Part):
    name: str
    arguments: dict[str, Any] = Field(default_factory=dict)


class OllamaCall(Part):
    function: OllamaFunction


class OllamaMessage(Part):
    role: Literal["system", "user", "assistant", "tool"]
    content: str | None = None
    thinking: str | None = None
    images: Items[str] | None = None
    tool_calls: Items[OllamaCall] | None = None
    tool_name: str | None = None


class Options(Part):
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, ge=0, le=1)
    top_k: int | None = Field(default=None, ge=0, le=MAX_TOKENS)
    min_p: float | None = Field(default=None, ge=0, le=1)
    repeat_penalty: float | None = Field(default=None, gt=0, le=10)
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    seed: int | None = Field(default=None, ge=-(2**63), le=2**63 - 1)
    num_predict: int | None = Field(default=None, ge=-2, le=MAX_TOKENS)
    stop: StopString | Annotated[Items[StopString], Field(max_length=16)] | None = None


class OllamaBody(Body):
    """What both ways to ask share."""

    model: str
    stream: bool | None = None
    format: Literal["json", ""] | dict[str, Any] | None = None
    options: Options | None = None
    think: bool | Literal["low", "medium", "high"] | None = None
    keep_alive: str | int | float | None = None

    refused: ClassVar[Mapping[str, str]] = {
        "template": "the model's own template is used; serve a file with another one",
        "adapter": "name the adapter as the model: NAME that `vortex adapters list` shows",
    }

    @property
    def is_streamed(self) -> bool:
        return self.stream is not False

    def asked(self, request_id: str, server: ServerOptions) -> ChatRequest:
        """The request without its conversation."""
        given = self.options or Options()
        names = ("temperature", "top_p", "top_k", "min_p", "presence_penalty", "frequency_penalty", "seed")
        sampling: dict[str, Any] = {name: getattr(given, name) for name in names if getattr(given, name) is not None}
        if sampling.get("top_p") == 0:
            sampling["top_p"] = 1.0
        if given.repeat_penalty is not None:
            sampling |= {"repetition_penalty": given.repeat_penalty, "penalty_reads_prompt": True}
        schema = {} if self.format == "json" else self.format or None
        effort = self.think if isinstance(self.think, str) else None
        wanted = self.think if isinstance(self.think, bool) else None
        return ChatRequest(
            request_id=request_id,
            model=self.model.removesuffix(LATEST),
            sampling=replace(server.sampling_for(self.model.removesuffix(LATEST)), **sampling),
            max_tokens=None if given.num_predict is None else max(given.num_predict, -1),
            stop=(given.stop,) if isinstance(given.stop, str) else tuple(given.stop or ()),
            json_schema=None if schema is None else checked_schema(schema, server.limits, "format"),
            strict_schema=False,
            template_options=thinking_options(effort, wanted),
        )


class OllamaChatBody(OllamaBody):
    messages: Annotated[Items[OllamaMessage], Field(min_length=1)]
    tools: Items[Tool] | None = None

    def chat_messages(self) -> list[Message]:
        """RequestError for an image, and for a tool's answer that follows no call."""
        messages: list[Message] = []
        waiting: list[str] = []
        for index, message in enumerate(self.messages):
            if message.images:
                raise refuse_base64(message.images[0], f"messages[{index}].images[0]")
            calls = [
                MessageToolCall(
                    id=f"call{index:04d}{place}",
                    function=CalledFunction(
                        name=call.function.name,
                        arguments=as_json(call.function.arguments),
                    ),
                )
                for place, call in enumerate(message.tool_calls or ())
            ]
            answered = None
            if message.role == "tool":
                if not waiting:
                    raise RequestError("a tool message must follow a call", param=f"messages[{index}]")
                answered = waiting.pop(0)
            waiting += [call.id for call in calls]
            messages.append(
                Message(
                    role=message.role,
                    content=message.content or "",
                    tool_calls=calls or None,
                    tool_call_id=answered,
                    reasoning_content=message.thinking,
                )
            )
        return messages

    def to_request(self, request_id: str, options: ServerOptions) -> ChatRequest:
        tools = tool_specs([tool.function for tool in self.tools or ()], options.limits)
        messages = conversation(self.chat_messages())
        return replace(self.asked(request_id, options), messages=messages, tools=tools, parallel_tool_calls=False)


class GenerateBody(OllamaBody):
    prompt: str = ""
    suffix: str | None = None
    system: str | None = None
    images: Items[str] | None = None
    raw: bool | None = None

    @property
    def is_plain(self) -> bool:
        """The prompt as it is, without the model's template."""
        return bool(self.raw or self.suffix)

    def chat_messages(self) -> list[Message]:
        if self.images:
            raise refuse_base64(self.images[0], "images[0]")
        if self.is_plain:
            return []
        told = [Message(role="system", content=self.system)] if self.system else []
        return [*told, Message(role="user", content=self.prompt)]

    def to_request(self, request_id: str, options: ServerOptions) -> ChatRequest:
        asked = self.asked(request_id, options)
        if self.is_plain:
            return replace(asked, prompt=self.prompt, suffix=self.suffix or None)
        return replace(asked, messages=conversation(self.chat_messages()))


class EmbedBody(Body):
    model: str
    input: str | Annotated[Items[str], Field(min_length=1)]
    dimensions: int | None = Field(default=None, ge=1)

    def texts(self) -> list[str]:
        return [self.input] if isinstance(self.input, str) else self.input


class ShowBody(Body):
    model: str = Field(min_length=1, validation_alias=AliasChoices("model", "name"))
