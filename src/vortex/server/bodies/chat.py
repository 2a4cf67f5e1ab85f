"""The body of `/v1/chat/completions`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from vortex.errors import RequestError
from vortex.server.bodies.extension import Extension
from vortex.server.bodies.messages import Message, conversation
from vortex.server.bodies.sampling import MAX_TOKENS, SamplingBody
from vortex.server.bodies.structured import NamedTool, ResponseFormat, Tool, checked_tool_choice, schema_of, tool_specs
from vortex.server.options import ServerOptions
from vortex.types import ChatRequest


class ChatBody(SamplingBody):
    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: int | None = Field(default=None, ge=1, le=MAX_TOKENS)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    response_format: ResponseFormat | None = None
    tools: list[Tool] | None = None
    tool_choice: Literal["auto", "none", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None  # several calls in one answer only where asked for: small models overdo it
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    vortex: Extension | None = None

    refused: ClassVar[Mapping[str, str]] = {
        "functions": "send 'tools'",
        "function_call": "send 'tool_choice'",
        "audio": "answers are text",
        "web_search_options": "the server does not search the web",
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
        template_options = dict(self.chat_template_kwargs or {})
        if self.reasoning_effort is not None:
            template_options["reasoning_effort"] = self.reasoning_effort
        return ChatRequest(
            request_id=request_id,
            model=self.model,
            messages=conversation(self.messages),
            sampling=self.sampling(options.sampling),
            max_tokens=self.max_completion_tokens or self.max_tokens,
            min_tokens=self.min_tokens or 0,
            ignore_eos=bool(self.ignore_eos),
            stop=self.stop_strings(),
            num_choices=self.num_choices(limits.choices),
            top_logprobs=(self.top_logprobs or 0) if self.logprobs else None,
            tools=tools,
            tool_choice=checked_tool_choice(named, tools),
            parallel_tool_calls=bool(self.parallel_tool_calls),
            json_schema=schema_of(self.response_format, limits),
            template_options=template_options,
        )
