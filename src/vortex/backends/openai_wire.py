"""The OpenAI wire seen from the client: a ChatRequest as a JSON body, streamed chunks as ChatEvents.

Pure functions and one small reader; no sockets. Fields beyond OpenAI's (top_k, min_p, repetition_penalty, min_tokens,
ignore_eos) are sent only where they differ from their defaults, so that a strict engine is not upset by them.
Token ids are not on the wire: log-probabilities carry id -1 unless the engine adds `token_id`, as Vortex does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vortex.errors import BackendError
from vortex.types import (
    ChatEvent,
    ChatMessage,
    ChatRequest,
    ChoiceFinished,
    Completed,
    FinishReason,
    ReasoningDelta,
    SamplingOptions,
    Started,
    TextDelta,
    Timings,
    TokenLogprob,
    ToolCallDelta,
    Usage,
)

EXTRA_SAMPLING = ("top_k", "min_p", "repetition_penalty")
FINISH_REASONS = {"length": FinishReason.LENGTH, "tool_calls": FinishReason.TOOL_CALLS}


def request_body(request: ChatRequest) -> dict[str, Any]:
    """The body for `/v1/chat/completions`, or for `/v1/completions` where the request has a prompt."""
    sampling = request.sampling
    body: dict[str, Any] = {
        "model": request.model,
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "n": request.num_choices,
        "seed": sampling.seed,
        "max_tokens": request.max_tokens,
        "stop": list(request.stop) or None,
        "logit_bias": {str(token): bias for token, bias in sampling.logit_bias.items()} or None,
    }
    defaults = SamplingOptions()
    body |= {k: getattr(sampling, k) for k in EXTRA_SAMPLING if getattr(sampling, k) != getattr(defaults, k)}
    body |= {"min_tokens": request.min_tokens or None, "ignore_eos": request.ignore_eos or None}
    body |= _prompt_fields(request) if request.prompt is not None else _chat_fields(request)
    return {key: value for key, value in body.items() if value is not None}


def _prompt_fields(request: ChatRequest) -> dict[str, Any]:
    prompt = request.prompt if isinstance(request.prompt, str) else list(request.prompt or ())
    return {"prompt": prompt, "suffix": request.suffix, "logprobs": request.top_logprobs}


def _chat_fields(request: ChatRequest) -> dict[str, Any]:
    fields: dict[str, Any] = {"messages": [message_body(message) for message in request.messages]}
    if request.top_logprobs is not None:
        fields |= {"logprobs": True, "top_logprobs": request.top_logprobs}
    if request.tools:
        fields["tools"] = [
            {"type": "function", "function": {"name": t.name, "description": t.description, "parameters": t.parameters}}
            for t in request.tools
        ]
        named = request.tool_choice not in ("auto", "none", "required")
        choice = {"type": "function", "function": {"name": request.tool_choice}} if named else request.tool_choice
        fields |= {"tool_choice": choice, "parallel_tool_calls": request.parallel_tool_calls}
    if request.json_schema is not None:
        strict = {"name": "answer", "strict": True, "schema": request.json_schema}
        fields["response_format"] = (
            {"type": "json_schema", "json_schema": strict} if request.json_schema else {"type": "json_object"}
        )
    if request.template_options:
        fields["chat_template_kwargs"] = dict(request.template_options)
        if effort := request.template_options.get("reasoning_effort"):
            fields["reasoning_effort"] = effort
    if request.thinking_tokens is not None:
        fields["thinking_budget"] = request.thinking_tokens
    return fields


def message_body(message: ChatMessage) -> dict[str, Any]:
    body: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.name:
        body["name"] = message.name
    if message.tool_call_id:
        body["tool_call_id"] = message.tool_call_id
    if message.reasoning:
        body["reasoning_content"] = message.reasoning
    if message.tool_calls:
        body["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    return body


class ChunkReader:
    """Decoded chunks of one answer in, events out. `finish()` gives Completed, or says what was missing."""

    def __init__(self, request: ChatRequest) -> None:
        self._request = request
        self._started = False
        self._open_choices = set(range(request.num_choices))
        self._delta_tokens = 0
        self._usage: Usage | None = None
        self._timings = Timings()

    def read(self, chunk: object) -> Iterator[ChatEvent]:
        """BackendError for an engine's error, and for what has no shape of an answer."""
        if not isinstance(chunk, Mapping):
            raise BackendError("the engine sent an event that is no object")
        try:
            yield from self._events(chunk)
        except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError) as error:
            reason = f"the engine sent an event of another shape than OpenAI's ({type(error).__name__})"
            raise BackendError(reason) from error

    def _events(self, chunk: Mapping[str, Any]) -> Iterator[ChatEvent]:
        if "error" in chunk:
            error = chunk["error"] or {}
            raise BackendError(f"the engine failed in the middle of its answer: {_message(error)}")
        if not self._started:
            self._started = True
            seed = chunk.get("seed", self._request.sampling.seed or 0)
            yield Started(request_id=self._request.request_id, model=chunk.get("model") or "", seed=seed)
        for choice in chunk.get("choices") or ():
            yield from self._choice(choice)
        if usage := chunk.get("usage"):
            details = usage.get("prompt_tokens_details") or {}
            spent = usage.get("completion_tokens_details") or {}
            self._usage = Usage(
                prompt_tokens=usage.get("prompt_tokens", 0),
                completion_tokens=usage.get("completion_tokens", 0),
                cached_tokens=details.get("cached_tokens") or 0,
                reasoning_tokens=spent.get("reasoning_tokens") or 0,
            )
        if timings := chunk.get("timings"):
            numbers = {key: float(value) for key, value in timings.items() if isinstance(value, int | float)}
            spans = {key: numbers.pop(key, 0.0) for key in ("queue_ms", "prefill_ms", "decode_ms")}
            self._timings = Timings(**spans, counters=numbers)

    def _choice(self, choice: Mapping[str, Any]) -> Iterator[ChatEvent]:
        index = choice.get("index", 0)
        if not isinstance(index, int) or not 0 <= index < self._request.num_choices:
            raise BackendError(f"the engine sent a choice {index!r} that was not asked for")
        delta = choice.get("delta") or {}
        text = delta.get("content") or choice.get("text") or ""
        if not isinstance(text, str):
            raise BackendError("the engine sent a text that is none")
        thought = delta.get("reasoning_content") or delta.get("reasoning") or ""
        if not isinstance(thought, str):
            raise BackendError("the engine sent a thought that is no text")
        if thought:
            self._delta_tokens += 1
            yield ReasoningDelta(choice=index, text=thought)
        logprobs = tuple(_logprobs(choice.get("logprobs") or {}))
        if text or logprobs:
            self._delta_tokens += 1
            yield TextDelta(choice=index, text=text, logprobs=logprobs)
        for call in delta.get("tool_calls") or ():
            function = call.get("function") or {}
            yield ToolCallDelta(
                choice=index,
                index=call.get("index", 0),
                id=call.get("id"),
                name=function.get("name"),
                arguments=str(function.get("arguments") or ""),
            )
        if reason := choice.get("finish_reason"):
            self._open_choices.discard(index)
            yield ChoiceFinished(choice=index, reason=FINISH_REASONS.get(reason, FinishReason.STOP))

    def finish(self) -> Completed:
        if self._open_choices:
            raise BackendError("the engine closed its stream before the answer was finished")
        usage = self._usage or Usage(prompt_tokens=0, completion_tokens=self._delta_tokens)
        return Completed(usage=usage, timings=self._timings)


def _message(error: object) -> object:
    return error.get("message", error) if isinstance(error, Mapping) else error


def _logprobs(field: Mapping[str, Any]) -> Iterator[TokenLogprob]:
    """Both shapes: chat's list of tokens, and the parallel lists of plain completions."""
    for token in field.get("content") or ():
        yield _token(token, tuple(_token(other) for other in token.get("top_logprobs") or ()))
    tokens, values = field.get("tokens") or (), field.get("token_logprobs") or ()
    tops: Sequence[Mapping[str, float] | None] = field.get("top_logprobs") or ({},) * len(tokens)
    for token, value, top in zip(tokens, values, tops, strict=False):
        rivals = tuple(TokenLogprob(-1, text.encode(), logprob) for text, logprob in (top or {}).items())
        yield TokenLogprob(-1, token.encode(), value if value is not None else 0.0, rivals)


def _token(token: Mapping[str, Any], top: tuple[TokenLogprob, ...] = ()) -> TokenLogprob:
    raw = token.get("bytes")
    spelled = bytes(raw) if raw is not None else str(token.get("token", "")).encode()
    return TokenLogprob(token.get("token_id", -1), spelled, float(token.get("logprob", 0.0)), top)
