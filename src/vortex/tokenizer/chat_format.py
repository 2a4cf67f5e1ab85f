"""A conversation as the tokens a model expects: its chat template, then its tokenizer.

Promises that a control token written in a message, a tool or an option stays plain text, while the template's own
become ids: what comes from outside is fenced before rendering and encoded as text after it. Tokens that a model's
vocabulary holds as ordinary text (`<think>`, `<tool_call>`) are not fenced; templates look for them.

A model without a template gets ChatML where its vocabulary has ChatML's markers, else a plain transcript.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from vortex.errors import RequestError
from vortex.tokenizer.house import HouseTokenizer
from vortex.tokenizer.template import ChatTemplate
from vortex.tokenizer.tool_prompt import spell_out_tools, uses_tools
from vortex.tokenizer.turns import folded, loses_system, with_plain_ids
from vortex.types import ChatMessage, ToolCall, ToolSpec

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
TRANSCRIPT = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ message.role | capitalize + ': ' + message.content + '\\n\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)


class TemplateChatFormat:
    """A `vortex.protocols.ChatFormat` for any model that `HouseTokenizer` reads.

    `has_template` says whether the model brought its own. Raises ModelFileError for one that does not compile.
    """

    def __init__(self, tokenizer: HouseTokenizer) -> None:
        self._tokenizer = tokenizer
        self._fence = Fence(tokenizer.control_tokens)
        sources = dict(tokenizer.settings.chat_templates)
        self.has_template = bool(sources)
        self.sources = tuple(sources.values())
        if not sources:
            sources["default"] = CHATML if "<|im_start|>" in tokenizer.control_tokens else TRANSCRIPT
        self._templates = {name: ChatTemplate(source) for name, source in sources.items()}

    def encode(self, messages: Sequence[ChatMessage], tools: Sequence[ToolSpec] = (), **options: object) -> list[int]:
        """Ids of the conversation, ending with the opening of the assistant's turn.

        `options` go to the template (enable_thinking, reasoning_effort, …; add_generation_prompt=False leaves the
        opening out). Raises RequestError where the template refuses the conversation.
        """
        ids: list[int] = []
        for text, fenced in self._fence.pieces(self._render(messages, tools, options)):
            ids += self._tokenizer.encode(text, special=not fenced)
        return ids

    def render(self, messages: Sequence[ChatMessage], tools: Sequence[ToolSpec] = (), **options: object) -> str:
        """The conversation as text, as `encode` reads it."""
        return "".join(text for text, _ in self._fence.pieces(self._render(messages, tools, options)))

    def _render(self, messages: Sequence[ChatMessage], tools: Sequence[ToolSpec], options: Mapping[str, object]) -> str:
        """A conversation that ends with words of the assistant is continued there, unless `options` ask for a new turn
        (`add_generation_prompt`)."""
        if not messages:
            raise RequestError("a conversation needs at least one message", param="messages")
        given = dict(options)
        asked = given.pop("continue_final_message", None)
        last = messages[-1]
        is_begun = last.role == "assistant" and bool(last.content) and not last.tool_calls
        if asked is False or not is_begun or (asked is None and "add_generation_prompt" in given):
            return self._in_turns(messages, tools, given)
        mark = self._fence.mark
        begun = [*messages[:-1], replace(last, content=last.content + mark)]
        text, found, _ = self._in_turns(begun, tools, {**given, "add_generation_prompt": False}).rpartition(mark)
        if not found:
            reason = "the model's chat template does not write the last message, so it cannot be continued"
            raise RequestError(reason, param="continue_final_message")
        return text

    def _in_turns(
        self, messages: Sequence[ChatMessage], tools: Sequence[ToolSpec], options: Mapping[str, object]
    ) -> str:
        """Rendered as it is; where the template refuses that, or loses what the system says, in plain turns."""
        template = self._choose(tools)
        if uses_tools(messages, tools) and not template.knows_tools:
            messages, tools = spell_out_tools(messages, tools), ()
        messages = with_plain_ids(messages)
        refusal: RequestError | None = None
        rendered = ""
        try:
            rendered = self._written(template, messages, tools, options)
            if not loses_system(messages, rendered):
                return rendered
        except RequestError as error:
            if error.code == "template_too_costly":
                raise
            refusal = error
        plain = folded(messages)
        try:
            if plain != messages:
                return self._written(template, plain, tools, options)
        except RequestError as error:
            refusal = refusal or error
        if refusal is not None:
            raise refusal
        return rendered

    def _written(
        self,
        template: ChatTemplate,
        messages: Sequence[ChatMessage],
        tools: Sequence[ToolSpec],
        options: Mapping[str, object],
    ) -> str:
        special = {"bos_token": "", "eos_token": "", **self._tokenizer.settings.special_tokens}
        if not self.has_template and not self._tokenizer.settings.add_bos:
            special["bos_token"] = ""
        return template.render(
            self._fence.protect([message_value(message) for message in messages]),
            self._fence.protect([tool_value(tool) for tool in tools]) or None,
            **{"add_generation_prompt": True, **special, **self._fence.protect(dict(options))},
        )

    def _choose(self, tools: Sequence[ToolSpec]) -> ChatTemplate:
        if tools and "tool_use" in self._templates:
            return self._templates["tool_use"]
        return self._templates.get("default") or next(iter(self._templates.values()))


class Fence:
    """Marks control tokens in outside text, so that they are told apart from a template's own after rendering.

    The marks are random letters and digits: nobody can write them beforehand, and no JSON or HTML filter alters them.
    """

    def __init__(self, control_tokens: Mapping[str, int]) -> None:
        nonce = secrets.token_hex(8)
        self._open, self._close = f"fo{nonce}", f"fc{nonce}"
        self.mark = f"fm{nonce}"  # a place in a conversation that is looked for after rendering
        self._fenced = re.compile(f"{self._open}((?:(?!f[oc]{nonce}).)*){self._close}", re.DOTALL)
        self._stray = re.compile(f"f[oc]{nonce}")
        self._tokens = control_tokens
        self._lengths = sorted({len(token) for token in control_tokens}, reverse=True)
        starts = "".join(sorted({token[0] for token in control_tokens if token}))
        self._starts = re.compile(f"[{re.escape(starts)}]") if starts else None

    def protect(self, value: Any) -> Any:
        """The same value with every control token inside its strings, keys included, between marks."""
        if isinstance(value, str):
            return self._protect_text(value)
        if isinstance(value, Mapping):
            return {self.protect(key): self.protect(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.protect(item) for item in value]
        return value

    def _protect_text(self, text: str) -> str:
        parts, done = [], 0
        for start, end in self._occurrences(text):
            parts += [text[done:start], self._open, text[start:end], self._close]
            done = end
        return "".join([*parts, text[done:]])

    def _occurrences(self, text: str) -> Iterator[tuple[int, int]]:
        """Spans of control tokens, leftmost and longest first."""
        at = 0
        while self._starts is not None and (found := self._starts.search(text, at)):
            start = found.start()
            length = next((n for n in self._lengths if text[start : start + n] in self._tokens), 0)
            if length:
                yield start, start + length
            at = start + max(length, 1)

    def pieces(self, rendered: str) -> Iterator[tuple[str, bool]]:
        """(text, fenced): a template's own text and the fenced control tokens, in order, marks removed."""
        for index, part in enumerate(self._fenced.split(rendered)):
            text = self._stray.sub("", part)
            if text:
                yield text, index % 2 == 1


def message_value(message: ChatMessage) -> dict[str, Any]:
    """A message as templates read it: OpenAI's shape, with tool calls' arguments as objects where they parse."""
    value: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.name is not None:
        value["name"] = message.name
    if message.tool_calls:
        value["tool_calls"] = [_call_value(call) for call in message.tool_calls]
    if message.tool_call_id is not None:
        value["tool_call_id"] = message.tool_call_id
    if message.reasoning:  # templates that know thinking read it by one of two names, and write it where it belongs
        value["reasoning_content"] = message.reasoning
        if not message.content:  # gpt-oss refuses both beside a call
            value["thinking"] = message.reasoning
    return value


def _call_value(call: ToolCall) -> dict[str, Any]:
    try:
        arguments = json.loads(call.arguments or "{}")
    except ValueError:
        arguments = call.arguments  # a model wrote it; the next turn shows it the same text
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def tool_value(tool: ToolSpec) -> dict[str, Any]:
    """A tool as templates read it: OpenAI's function object."""
    function = {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}
    return {"type": "function", "function": function}
