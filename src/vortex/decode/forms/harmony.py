"""gpt-oss's answers: messages with channels. `analysis` is thinking, `final` is text, and what goes to `functions.name`
is that function's call; `commentary` to nobody is text for the user.

    <|channel|>analysis<|message|>…<|end|><|start|>assistant<|channel|>commentary to=functions.f <|constrain|>json
    <|message|>{…}<|call|>

A text that begins without a channel is text. Source of the form: OpenAI's harmony format, in the model's own template.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from vortex.decode.forms.brackets import BracketEnd
from vortex.decode.forms.form import AnswerForm
from vortex.decode.forms.splitter import Findings, TextSplitter
from vortex.types import ToolSpec

MESSAGE = "<|message|>"
ENDS = ("<|end|>", "<|start|>", "<|channel|>", "<|call|>", "<|return|>")
END = re.compile("|".join(map(re.escape, ENDS)))
BEGINNINGS = frozenset(mark[:n] for mark in (*ENDS, MESSAGE) for n in range(1, len(mark)))
LONGEST = max(map(len, ENDS))
CHANNEL = re.compile(r"<\|channel\|>\s*(\w+)")
RECIPIENT = re.compile(r"to=(?:functions\.)?([\w.-]+)")
HEADED = re.compile(r"\s*(?:<\||to=|assistant)")
MAX_HEADER_CHARS = 512


class HarmonySplitter:
    """A `vortex.decode.forms.splitter.Splitter`. The prompt has ended with `<|start|>assistant`."""

    def __init__(self, findings: Findings, text_form: AnswerForm) -> None:
        """text_form: of calls that a grammar wrote into the text."""
        self._findings = findings
        self._text = TextSplitter(findings, text_form)
        self._held = ""
        self._in_header = True
        self._at_start = True  # nothing came yet
        self._kind = "text"
        self._end: BracketEnd | None = None
        self._is_call_whole = True

    @property
    def tools(self) -> Mapping[str, ToolSpec]:
        return self._findings.tools

    @property
    def is_thinking(self) -> bool:
        return not self._in_header and self._kind == "thought"

    @property
    def is_in_call(self) -> bool:
        return self._text.is_in_call or (not self._in_header and self._kind == "call" and not self._is_call_whole)

    def push(self, text: str) -> None:
        self._held += text
        while self._step():
            pass

    def finish(self) -> None:
        rest, self._held = self._held, ""
        if not self._in_header:
            self._tell(rest)
        elif self._at_start and HEADED.match(rest) is None:
            self._text.push(rest)
        self._text.finish()

    def _step(self) -> bool:
        return self._header() if self._in_header else self._body()

    def _header(self) -> bool:
        header, mark, rest = self._held.partition(MESSAGE)
        if mark:
            self._open(header)
            self._held, self._in_header, self._at_start = rest, False, False
            return True
        begun = self._held.lstrip()
        undecided = any(word.startswith(begun) for word in ("<|", "to=", "assistant"))
        if self._at_start and begun and not undecided and HEADED.match(begun) is None:
            self._kind, self._in_header, self._at_start = "text", False, False
            return True
        if len(self._held) > MAX_HEADER_CHARS:
            self._held = ""
        return False

    def _open(self, header: str) -> None:
        recipient, channel = RECIPIENT.search(header), CHANNEL.search(header)
        if recipient is not None and recipient[1] in self.tools:
            self._findings.begin(recipient[1])
            self._kind, self._end, self._is_call_whole = "call", BracketEnd(), False
        else:
            self._kind = "thought" if channel is not None and channel[1] == "analysis" else "text"

    def _body(self) -> bool:
        found = END.search(self._held)
        if found is not None:
            self._tell(self._held[: found.start()])
            behind = self._held[found.start() if found[0] == "<|channel|>" else found.end() :]
            self._held, self._in_header, self._is_call_whole = behind, True, True
            return True
        lengths = range(min(LONGEST - 1, len(self._held)), 0, -1)
        keep = next((n for n in lengths if self._held[-n:] in BEGINNINGS), 0)
        ready = self._held[: len(self._held) - keep]
        self._held = self._held[len(ready) :]
        self._tell(ready)
        return False

    def _tell(self, text: str) -> None:
        if not text:
            return
        if self._kind != "call":
            (self._findings.thought if self._kind == "thought" else self._text.push)(text)
            return
        if self._end is None:  # behind the arguments nothing is said
            return
        end = self._end.find(text)
        self._findings.arguments(text if end is None else text[:end])
        if end is not None:
            self._end, self._is_call_whole = None, True
