"""The description of a family's way to write: where thinking begins and ends, how a call is spelled.

A description is data. It drives how answers are read (reader.py), which control tokens are shown to that reader, how a
thinking part is ended from outside (thinking_limit.py), and which grammar holds calls (`grammar`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Syntax(StrEnum):
    """How a call is written between its marks. A call may have several: they are tried in order."""

    JSON = "json"  # {"name": …, "arguments": {…}}, or "parameters"; streamed as it comes
    JSON_LIST = "json_list"  # [{…}, {…}]
    PYTHONIC = "pythonic"  # [name(key="value"), …]
    XML = "xml"  # <function=name><parameter=key>value</parameter></function>
    KEY_VALUE = "key_value"  # name <arg_key>k</arg_key><arg_value>v</arg_value>
    NAMED = "named"  # name[ARGS]{…}, name{…}
    DEEPSEEK = "deepseek"  # name<｜tool▁sep｜>{…}, or function<｜tool▁sep｜>name and a code fence
    BRACED = "braced"  # call:name{key:<|"|>text<|"|>,other:3}


@dataclass(frozen=True, slots=True)
class ThinkingMarks:
    """opened_by_prompt: how the prompt ends where the template has begun the thinking already.

    ending: what ends the thinking from outside and lets the answer begin; control tokens are meant.
    """

    opening: str
    closing: str
    ending: str

    def is_open(self, prompt_tail: str) -> bool:
        return prompt_tail.rstrip().endswith(self.opening.rstrip())


@dataclass(frozen=True, slots=True)
class CallMarks:
    """opening: empty for calls that stand bare where an answer's text begins. kept: of the opening, what belongs to the
    call. closing: empty where the call's own end is its end."""

    opening: str
    closing: str
    syntaxes: tuple[Syntax, ...]
    kept: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerForm:
    """silent: marks around calls that say nothing. marks: control tokens whose places mean something. harmony: answers
    are messages with channels (gpt-oss), and everything else is empty."""

    name: str
    thinking: tuple[ThinkingMarks, ...] = ()
    calls: tuple[CallMarks, ...] = ()
    silent: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    harmony: bool = False

    @property
    def thinks(self) -> bool:
        return bool(self.thinking) or self.harmony
