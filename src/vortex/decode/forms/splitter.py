"""Text, thoughts and calls by the marks that stand between them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from functools import lru_cache
from typing import Protocol

from vortex.decode.forms.bodies import BODIES, Body, State
from vortex.decode.forms.form import AnswerForm, CallMarks, Syntax, ThinkingMarks
from vortex.types import ToolSpec

LAYOUT = re.compile(r"[\s}\]]*")  # what small models write too much of behind a call
TICKED_LAYOUT = re.compile(r"[\s}\]`]*")
BETWEEN = " \t\r\n;,"  # bare calls


class Findings(Protocol):
    """Who is told what the splitter finds."""

    @property
    def tools(self) -> Mapping[str, ToolSpec]: ...

    def text(self, text: str) -> None: ...

    def thought(self, text: str) -> None: ...

    def begin(self, name: str) -> None: ...

    def arguments(self, piece: str) -> None: ...


class Splitter(Protocol):
    @property
    def is_thinking(self) -> bool: ...

    @property
    def is_in_call(self) -> bool:
        """A call has begun and is not whole."""
        ...

    def push(self, text: str) -> None: ...

    def finish(self) -> None: ...


class Place(Enum):
    TEXT = "text"
    THOUGHT = "thought"
    CALL = "call"
    BEHIND = "behind"  # a call, before its closing mark


class Marks:
    """The marks that text is searched for, compiled once for each family."""

    def __init__(self, form: AnswerForm, *, with_calls: bool) -> None:
        self.thinking = {marks.opening: marks for marks in form.thinking}
        self.calls = {marks.opening: marks for marks in form.calls if marks.opening} if with_calls else {}
        self.bare = next((marks for marks in form.calls if not marks.opening), None) if with_calls else None
        every = sorted([*self.thinking, *self.calls, *(form.silent if with_calls else ())], key=len, reverse=True)
        self.found = re.compile("|".join(map(re.escape, every))) if every else None
        self.beginnings = frozenset(mark[:length] for mark in every for length in range(1, len(mark)))
        self.longest = max(map(len, every), default=0)
        firsts = "".join(sorted({mark[0] for mark in every}))
        self.firsts = re.compile(f"[{re.escape(firsts)}]") if every else None

    def begun(self, text: str) -> int:
        """Characters at the text's end that may begin a mark."""
        if self.firsts is None or self.firsts.search(text, max(0, len(text) - self.longest + 1)) is None:
            return 0
        lengths = range(min(self.longest - 1, len(text)), 0, -1)
        return next((length for length in lengths if text[-length:] in self.beginnings), 0)


@lru_cache(maxsize=64)
def marks_of(form: AnswerForm, with_calls: bool) -> Marks:
    return Marks(form, with_calls=with_calls)


class TextSplitter:
    """prompt_tail: the end of the prompt, in which the thinking may have begun."""

    def __init__(self, findings: Findings, form: AnswerForm, prompt_tail: str = "") -> None:
        self._findings = findings
        self._marks = marks_of(form, bool(findings.tools))
        opened = next((marks for marks in form.thinking if marks.is_open(prompt_tail)), None)
        self._thinking: ThinkingMarks | None = opened
        self._place = Place.TEXT if opened is None else Place.THOUGHT
        self._held = ""
        self._trims = opened is not None  # white space that comes next belongs to nothing
        self._at_edge = True  # no text since the beginning, a thought or a call
        self._call: CallMarks | None = None
        self._bodies: list[Body] = []
        self._has_begun = False  # the body has told a call
        self._lead = ""  # white space before the mark of a call, text again where it is none
        self._is_behind_call = False

    @property
    def is_thinking(self) -> bool:
        return self._place is Place.THOUGHT

    @property
    def is_in_call(self) -> bool:
        return self._place is Place.CALL and self._has_begun

    def push(self, text: str) -> None:
        self._held += text
        while self._step(final=False):
            pass

    def finish(self) -> None:
        """The answer has ended: what was held is text, or a thought, after all."""
        while self._step(final=True):
            pass
        rest, self._held = self._held, ""
        if self._place is Place.THOUGHT:
            self._tell_thought(rest.rstrip())
        elif self._place is Place.TEXT and not (self._trims and not rest.strip()):
            self._tell_text(rest)

    def _step(self, *, final: bool) -> bool:
        """One decision on what is held; false where more text is needed."""
        if self._place is Place.TEXT:
            return self._in_text(final)
        if self._place is Place.THOUGHT:
            return self._in_thought()
        return self._in_call(final) if self._place is Place.CALL else self._behind(final)

    def _in_text(self, final: bool) -> bool:
        marks, held = self._marks, self._held
        if self._at_edge and marks.bare is not None:
            decided = self._at_bare(marks.bare, final)
            if decided is not None:
                return decided
        found = marks.found.search(held) if marks.found is not None and held else None
        if found is not None:
            before = held[: found.start()]
            kept = before.rstrip()
            self._tell_text(kept)
            self._lead, self._held = before[len(kept) :], held[found.end() :]
            self._open(found[0])
            return True
        keep = 0 if final else marks.begun(held)
        ready = held[: len(held) - keep]
        if not final and (marks.calls or self._at_edge):
            ready = ready.rstrip()  # it may stand before a mark
        self._held = held[len(ready) :]
        self._tell_text(ready)
        return False

    def _at_bare(self, bare: CallMarks, final: bool) -> bool | None:
        """Whether a call stands bare where the text begins; None where that is decided: it does not."""
        stripped = self._held.lstrip(BETWEEN if self._is_behind_call else None)
        if not stripped:
            return None if final or not self._held.strip() else False
        if self._marks.found is not None and self._marks.found.match(stripped):
            return None
        if not final and stripped in self._marks.beginnings:
            return False
        self._at_edge = False
        if stripped[0] not in "{[" and Syntax.PYTHONIC not in bare.syntaxes:
            return None
        self._lead, self._held = self._held[: len(self._held) - len(stripped)], stripped
        self._open_call(bare)
        return True

    def _open(self, mark: str) -> None:
        if mark in self._marks.thinking:
            self._thinking, self._place, self._trims = self._marks.thinking[mark], Place.THOUGHT, True
        elif mark in self._marks.calls:
            call = self._marks.calls[mark]
            self._held = call.kept + self._held
            self._open_call(call)
        else:  # silent
            self._trims, self._at_edge = True, True

    def _open_call(self, call: CallMarks) -> None:
        self._call, self._place, self._has_begun = call, Place.CALL, False
        self._bodies = [make(self) for syntax in call.syntaxes for make in BODIES[syntax]]

    def _in_thought(self) -> bool:
        assert self._thinking is not None, "a thought has marks"
        closing = self._thinking.closing
        before, mark, behind = self._held.partition(closing)
        if mark:
            self._tell_thought(before.rstrip())
            self._held, self._place, self._trims, self._at_edge = behind, Place.TEXT, True, True
            return True
        lengths = range(min(len(closing) - 1, len(before)), 0, -1)
        keep = next((length for length in lengths if closing.startswith(before[-length:])), 0)
        ready = before[: len(before) - keep].rstrip()
        self._held = before[len(ready) :]
        self._tell_thought(ready)
        return False

    def _in_call(self, final: bool) -> bool:
        while self._bodies:
            consumed, state = self._bodies[0].feed(self._held, final=final)
            self._held = self._held[consumed:]
            if state is State.DONE:
                self._place, self._trims, self._at_edge = Place.BEHIND, True, True
                self._is_behind_call = True
                return True
            if state is State.MORE:
                return False
            assert not self._has_begun, "what has told a call does not take it back"
            self._bodies.pop(0)
        assert self._call is not None, "a call has marks"
        opening = self._call.opening.removesuffix(self._call.kept)
        self._place, self._at_edge = Place.TEXT, False
        taken = len(self._call.kept) or (0 if opening else 1)  # so much of it is looked at no more
        self._tell_text(self._lead + opening + self._held[:taken])
        self._held = self._held[taken:]
        return True

    def _behind(self, final: bool) -> bool:
        assert self._call is not None, "a call has marks"
        closing, held = self._call.closing, self._held
        layout = (LAYOUT if closing.startswith("`") else TICKED_LAYOUT).match(held)
        rest = held[layout.end() :] if layout and closing else held
        if closing and rest.startswith(closing):
            self._held, self._place = rest[len(closing) :], Place.TEXT
            return True
        if closing and closing.startswith(rest) and not final:
            return False
        self._held, self._place = rest, Place.TEXT
        return bool(rest)

    # --- what is told ---

    @property
    def tools(self) -> Mapping[str, ToolSpec]:
        return self._findings.tools

    def begin(self, name: str) -> None:
        self._has_begun = True
        self._findings.begin(name)

    def arguments(self, piece: str) -> None:
        self._findings.arguments(piece)

    def _tell_text(self, text: str) -> None:
        if self._trims:
            text = text.lstrip()
        if text:
            self._trims = self._at_edge = self._is_behind_call = False
            self._findings.text(text)

    def _tell_thought(self, text: str) -> None:
        if self._trims:
            text = text.lstrip()
        if text:
            self._trims = False
            self._findings.thought(text)
