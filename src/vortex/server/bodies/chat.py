"""The body of `/v1/chat/completions`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from vortex.errors import RequestError
from vortex.server.bodies.extension import Extension
from vortex.server.bodies.messages import Message, conversation
from vortex.server.bodies.reading import FewKeys, Items
from vortex.server.bodies.sampling import MAX_TOKENS, SamplingBody
from vortex.server.bodies.structured import (
    NamedTool,
    ResponseFormat,
    Tool,
    checked_schema,
    checked_tool_choice,
    schema_of,
    tool_specs,
)
from vortex.server.bodies.thinking import Effort, thinking_options
from vortex.server.options import Limits, ServerOptions
from vortex.types import ChatRequest

OTHER_GRAMMARS = (
    "grammar",
    "guided_regex",
    "guided_choice",
    "guided_grammar",
    "structured_outputs",
    "schema",
    "format",
)
OWN_NAMES = {"self", "messages", "tools", "documents"}  # of what a template is given


class ChatBody(SamplingBody):
    messages: Annotated[Items[Message], Field(min_length=1)]
    max_completion_tokens: int | None = Field(default=None, ge=-1, le=MAX_TOKENS)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    response_format: ResponseFormat | None = None
    guided_json: dict[str, Any] | None = None  # vLLM's spelling of a schema
    json_schema: dict[str, Any] | None = None  # llama.cpp's
    tools: Items[Tool] | None = None
    tool_choice: Literal["auto", "none", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None  # several calls in one answer only where asked for: small models overdo it
    reasoning_effort: Effort | None = None
    thinking_budget: int | None = Field(default=None, ge=0, le=MAX_TOKENS)  # tokens; Qwen's and SiliconFlow's spelling
    thinking_token_budget: int | None = Field(default=None, ge=0, le=MAX_TOKENS)  # vLLM's
    chat_template_kwargs: Annotated[dict[str, Any], FewKeys] | None = None
    continue_final_message: bool | None = None
    add_generation_prompt: bool | None = None
    vortex: Extension | None = None

    refused: ClassVar[Mapping[str, str]] = {
        "functions": "send 'tools'",
        "function_call": "send 'tool_choice'",
        "audio": "answers are text",
        "web_search_options": "the server does not search the web",
        **dict.fromkeys(OTHER_GRAMMARS, "answers follow JSON schemas; send 'response_format'"),
    }

    def to_request(self, request_id: str, options: ServerOptions) -> ChatRequest:
        """RequestError where fields do not fit each other or go beyond the limits."""
        limits = options.limits
        if len(self.messages) > limits.messages:
            raise RequestError(f"more than {limits.messages} messages", param="messages")
        if self.top_logprobs is not None and not self.logprobs:
            raise RequestError("'top_logprobs' needs 'logprobs': true", param="top_logprobs")
        tools = tool_specs([tool.function for tool in self.tools or ()], limits)
        named = self.tool_choice.function.name if isinstance(self.tool_choice, NamedTool) else self.tool_choice
        schema, is_strict = self._schema(limits)
        return ChatRequest(
            request_id=request_id,
            model=self.model,
            messages=conversation(self.messages),
            sampling=self.sampling(options.sampling_for(self.model)),
            max_tokens=self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens,
            min_tokens=self.min_tokens or 0,
            ignore_eos=bool(self.ignore_eos),
            stop=self.stop_strings(),
            num_choices=self.num_choices(limits.choices),
            top_logprobs=(self.top_logprobs or 0) if self.logprobs else None,
            tools=tools,
            tool_choice=checked_tool_choice(named, tools),
            parallel_tool_calls=bool(self.parallel_tool_calls),
            json_schema=schema,
            strict_schema=is_strict,
            template_options=self._template_options(),
            thinking_tokens=self.thinking_budget if self.thinking_token_budget is None else self.thinking_token_budget,
        )

    def _schema(self, limits: Limits) -> tuple[dict[str, Any] | None, bool]:
        schema, is_strict = schema_of(self.response_format, limits)
        for name in ("guided_json", "json_schema"):
            other: dict[str, Any] | None = getattr(self, name)
            if other is not None and schema is None:
                schema = checked_schema(other, limits, name)
        return schema, is_strict

    def _template_options(self) -> dict[str, Any]:
        options = thinking_options(self.reasoning_effort) | dict(self.chat_template_kwargs or {})
        if taken := OWN_NAMES.intersection(options):
            reason = f"'chat_template_kwargs' names {min(taken)!r}, which the request itself gives; leave it out"
            raise RequestError(reason, param="chat_template_kwargs")
        own = {"add_generation_prompt": self.add_generation_prompt}
        own["continue_final_message"] = self.continue_final_message
        if self.continue_final_message and self.messages[-1].role != "assistant":
            reason = "'continue_final_message' needs a last message of the assistant"
            raise RequestError(reason, param="continue_final_message")
        return options | {name: value for name, value in own.items() if value is not None}
