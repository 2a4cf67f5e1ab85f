"""Tool calls read out of an answer's text while it comes, as events: the name first, arguments in pieces.

Text that turns out not to be a call stays text: it is held back only while it may still become one. Arguments are
passed on when the call's head is certain; where the object of the arguments ends is found by counting brackets
outside strings.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

from vortex.decode.structure.tool_grammar import CLOSING, OPENING
from vortex.types import ChatEvent, ChatRequest, ChoiceFinished, FinishReason, TextDelta, ToolCallDelta

HEAD = re.compile(r'\s*\{\s*"name"\s*:\s*"((?:[^"\\]|\\.)*)"\s*,\s*"arguments"\s*:\s*(?=\{)')
ID_LENGTH = 9
MAX_HEAD_CHARS = 256  # beyond them what followed the tag was no call


class ToolCallReader:
    """One for each request. Feed it all deltas and ends in order."""

    def __init__(self, request: ChatRequest) -> None:
        self._names = {tool.name for tool in request.tools}
        self._choices = [_Choice(request.request_id, index, self._names) for index in range(request.num_choices)]

    def read(self, event: TextDelta | ChoiceFinished) -> Iterator[ChatEvent]:
        choice = self._choices[event.choice]
        if isinstance(event, TextDelta):
            events = choice.push(event.text)
            text = "".join(e.text for e in events if isinstance(e, TextDelta))
            if text or event.logprobs:
                yield TextDelta(choice=event.choice, text=text, logprobs=event.logprobs)
            yield from (e for e in events if isinstance(e, ToolCallDelta))
            return
        yield from choice.finish()
        called = choice.num_calls > 0 and event.reason is not FinishReason.CANCELLED
        reason = FinishReason.TOOL_CALLS if called else event.reason
        yield ChoiceFinished(choice=event.choice, reason=reason, note=event.note)


class _Choice:
    """Where one choice's text stands: in plain text, in a call's head, in its arguments, or behind them."""

    def __init__(self, request_id: str, index: int, names: set[str]) -> None:
        self.num_calls = 0
        self._request_id = request_id
        self._index = index
        self._names = names
        self._held = ""  # text that is not yet decided
        self._at_edge = True
        self._state = self._in_text
        self._scanner = _ObjectEnd()

    def push(self, text: str) -> list[ChatEvent]:
        self._held += text
        events: list[ChatEvent] = []
        while self._state(events):
            pass
        return events

    def finish(self) -> list[ChatEvent]:
        """The answer has ended: what was held is text after all."""
        rest, self._held = self._held, ""
        if self._state == self._in_head:
            rest = OPENING + rest
        is_text = self._state in (self._in_text, self._in_head) and not (self.num_calls and self._is_layout(rest))
        return [TextDelta(choice=self._index, text=rest)] if rest and is_text else []

    def _in_text(self, events: list[ChatEvent]) -> bool:
        before, tag, behind = self._held.partition(OPENING)
        if tag:
            if not self._is_layout(before):
                self._text(events, before)
            self._held, self._state = behind, self._in_head
            return True
        keep = next((n for n in range(min(len(OPENING) - 1, len(before)), 0, -1) if OPENING.startswith(before[-n:])), 0)
        if self._is_layout(before):
            keep = len(before)
        self._text(events, before[: len(before) - keep])
        self._held = before[len(before) - keep :]
        return False

    def _in_head(self, events: list[ChatEvent]) -> bool:
        head = HEAD.match(self._held)
        if head is not None and head[1] in self._names:
            digest = hashlib.sha256(f"{self._request_id}/{self._index}/{self.num_calls}".encode()).hexdigest()
            call_id = digest[:ID_LENGTH]  # letters and digits that every chat template takes back
            events.append(ToolCallDelta(choice=self._index, index=self.num_calls, id=call_id, name=head[1]))
            self.num_calls += 1
            self._held, self._state, self._scanner = self._held[head.end() :], self._in_arguments, _ObjectEnd()
            return True
        if head is not None or len(self._held) > MAX_HEAD_CHARS:
            self._text(events, OPENING)
            self._state = self._in_text
            return True
        return False

    def _in_arguments(self, events: list[ChatEvent]) -> bool:
        end = self._scanner.find(self._held)
        piece = self._held if end is None else self._held[:end]
        if piece:
            events.append(ToolCallDelta(choice=self._index, index=self.num_calls - 1, arguments=piece))
        self._held = self._held[len(piece) :]
        if end is None:
            return False
        self._state = self._behind
        return True

    def _behind(self, events: list[ChatEvent]) -> bool:
        _, tag, rest = self._held.partition(CLOSING)
        if tag:
            self._held, self._state, self._at_edge = rest, self._in_text, True
        return bool(tag)

    def _is_layout(self, text: str) -> bool:
        """White space before the first text or call, or behind a call: it belongs to no text."""
        return self._at_edge and not text.strip()

    def _text(self, events: list[ChatEvent], text: str) -> None:
        if text:
            self._at_edge = False
            events.append(TextDelta(choice=self._index, text=text))


class _ObjectEnd:
    """Finds where a JSON object that began with the first character ends, over any number of pieces."""

    def __init__(self) -> None:
        self._depth = 0
        self._in_string = self._escaped = False

    def find(self, piece: str) -> int | None:
        """The index behind the closing bracket in this piece, or None while the object goes on."""
        for index, sign in enumerate(piece):
            if self._in_string:
                if self._escaped:
                    self._escaped = False
                elif sign == "\\":
                    self._escaped = True
                elif sign == '"':
                    self._in_string = False
            elif sign == '"':
                self._in_string = True
            elif sign in "{[":
                self._depth += 1
            elif sign in "}]":
                self._depth -= 1
                if not self._depth:
                    return index + 1
        return None
