"""Answers read while they come: thinking, text and tool calls told apart, by the family's description.

Promises: however an answer is cut into pieces, the same text, thoughts and calls come out; what turns out to be no call
stays text; nothing is held back but what may still become a mark or a call, and white space before one. White space
around thoughts and calls belongs to neither. A call that the answer's end cuts off is told as far as it came, and the
answer's reason then says that it was cut.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

from vortex.decode.forms.families import HERMES
from vortex.decode.forms.form import AnswerForm
from vortex.decode.forms.harmony import HarmonySplitter
from vortex.decode.forms.splitter import Splitter, TextSplitter
from vortex.types import (
    ChatEvent,
    ChatRequest,
    ChoiceFinished,
    FinishReason,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    ToolSpec,
)

ID_LENGTH = 9
CUT_THINKING = "the thinking part was cut at the limit; raise max_tokens, or give it a budget"


class FormReader:
    """One for each request. Feed it all deltas and ends in order."""

    def __init__(self, request: ChatRequest, form: AnswerForm, prompt_tail: str = "") -> None:
        may_call = bool(request.tools) and request.tool_choice != "none"
        tools = {tool.name: tool for tool in request.tools} if may_call else {}
        self._choices = [_Choice(request.request_id, i, tools, form, prompt_tail) for i in range(request.num_choices)]

    @property
    def reasoning_tokens(self) -> int:
        return sum(choice.reasoning_tokens for choice in self._choices)

    def read(self, event: TextDelta | ChoiceFinished) -> Iterator[ChatEvent]:
        choice = self._choices[event.choice]
        if isinstance(event, TextDelta):
            yield from choice.push(event)
            return
        yield from choice.finish()
        yield choice.ending(event)


class _Choice:
    """One answer: what its splitter finds becomes events. A `vortex.decode.forms.bodies.Calls`."""

    def __init__(
        self, request_id: str, index: int, tools: Mapping[str, ToolSpec], form: AnswerForm, prompt_tail: str
    ) -> None:
        self.tools = tools
        self.num_calls = 0
        self.reasoning_tokens = 0
        self._request_id = request_id
        self._index = index
        self._events: list[ChatEvent] = []
        self._splitter: Splitter
        self._splitter = HarmonySplitter(self, HERMES) if form.harmony else TextSplitter(self, form, prompt_tail)

    def push(self, delta: TextDelta) -> list[ChatEvent]:
        """Events in order; log-probabilities ride with text, or on a delta without any."""
        if self._splitter.is_thinking:
            self.reasoning_tokens += delta.num_tokens
        self._splitter.push(delta.text)
        events = self._taken()
        if not delta.logprobs:
            return events
        text = "".join(event.text for event in events if isinstance(event, TextDelta))
        others = [event for event in events if not isinstance(event, TextDelta)]
        return [TextDelta(choice=self._index, text=text, logprobs=delta.logprobs), *others]

    def finish(self) -> list[ChatEvent]:
        self._splitter.finish()
        return self._taken()

    def ending(self, event: ChoiceFinished) -> ChoiceFinished:
        if event.reason is FinishReason.LENGTH and self._splitter.is_thinking:
            note = event.note or CUT_THINKING
            return ChoiceFinished(choice=event.choice, reason=event.reason, note=note, stop=event.stop)
        if not self.num_calls or self._splitter.is_in_call or event.reason is FinishReason.CANCELLED:
            return event
        return ChoiceFinished(choice=event.choice, reason=FinishReason.TOOL_CALLS, note=event.note)

    # --- what the splitter tells ---

    def text(self, text: str) -> None:
        self._events.append(TextDelta(choice=self._index, text=text))

    def thought(self, text: str) -> None:
        self._events.append(ReasoningDelta(choice=self._index, text=text))

    def begin(self, name: str) -> None:
        digest = hashlib.sha256(f"{self._request_id}/{self._index}/{self.num_calls}".encode()).hexdigest()
        call_id = digest[:ID_LENGTH]  # letters and digits that every chat template takes back
        self._events.append(ToolCallDelta(choice=self._index, index=self.num_calls, id=call_id, name=name))
        self.num_calls += 1

    def arguments(self, piece: str) -> None:
        self._events.append(ToolCallDelta(choice=self._index, index=self.num_calls - 1, arguments=piece))

    def _taken(self) -> list[ChatEvent]:
        events, self._events = self._events, []
        return events
