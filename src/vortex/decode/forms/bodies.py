"""The inside of a call, read while it comes: one class for each way to write it (`form.Syntax`).

A body is fed the text that is not consumed yet, and says how much it took and where it stands. Before it has told a
call it may say that this is none; then the text is looked at in another way, or stays text. Arguments go out in pieces
as soon as they are certain: JSON as it comes, a tagged parameter when it is closed, what is read whole at its end.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from vortex.decode.forms.brackets import BracketEnd
from vortex.decode.forms.form import Syntax
from vortex.decode.forms.values import braced_object, python_calls, typed
from vortex.types import ToolSpec

MAX_HEAD_CHARS = 256  # beyond them what followed the mark was no call
MAX_BODY_CHARS = 1024 * 1024  # of a call that is read whole
JSON_HEAD = re.compile(
    r'\s*\{\s*"name"\s*:\s*"((?:[^"\\]|\\.)*)"\s*,\s*"(?:arguments|parameters)"\s*:\s*(?=\{)', re.DOTALL
)
JSON_NAME = re.compile(r'\s*\{\s*"name"\s*:\s*"((?:[^"\\]|\\.)*)"')
JSON_KEY = re.compile(r'\s*\{\s*("?)([^"]*)("?)')
CALL_KEYS = ("name", "arguments", "parameters", "type", "function", "id", "tool_name")
NAMED_HEAD = re.compile(r"\s*([\w.-]+)(?:\[CALL_ID\][\w-]*)?(?:\[ARGS\])?\s*(?=\{)")
DEEPSEEK_HEAD = re.compile(
    r"\s*(?:function<｜tool▁sep｜>)?([\w.-]+)(?:<｜tool▁sep｜>|\s*\n```(?:json)?\n)\s*(?=\{)"
)  # fmt: skip
PYTHON_HEAD = re.compile(r"\s*\[?\s*([A-Za-z_][\w.]*)(\()?")
CLOSERS, OPENERS = re.compile(r"[)}\]]"), re.compile("<")
LONGEST_TAG = 16
DELIMITERS = ('<|"|>', "<escape>")


class State(Enum):
    MORE = "more"  # wants more text
    DONE = "done"  # all its calls are told
    NOT = "not"  # no call


class Calls(Protocol):
    """What bodies tell their findings to."""

    @property
    def tools(self) -> Mapping[str, ToolSpec]: ...

    def begin(self, name: str) -> None: ...

    def arguments(self, piece: str) -> None: ...


class Body(Protocol):
    def feed(self, text: str, *, final: bool) -> tuple[int, State]:
        """Characters consumed, and where it stands. final: no more text comes."""
        ...


def known(name: str, calls: Calls) -> str | None:
    """The tool that is meant, or None. Some models write the name space of their training before it."""
    if name in calls.tools:
        return name
    bare = name.removeprefix("functions.")
    return bare if bare in calls.tools else None


def tell(calls: Calls, name: str, arguments: object) -> None:
    """One whole call."""
    calls.begin(name)
    calls.arguments(arguments if isinstance(arguments, str) else _spelled(arguments))


def _spelled(value: object) -> str:
    """JSON text; halves of surrogate pairs, which no wire can carry, become question marks."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace").decode()


class Unread:
    """Whether what came since the last look can change anything: long texts are not searched again for every token."""

    def __init__(self) -> None:
        self._seen = 0

    def has(self, text: str, signs: re.Pattern[str]) -> bool:
        start, self._seen = max(0, self._seen - LONGEST_TAG), len(text)
        return signs.search(text, start) is not None

    def forget(self) -> None:
        """Some of the text was consumed."""
        self._seen = 0


class HeadAndObject:
    """A head that names the tool, then its arguments as a JSON object, passed on as it comes.

    keys: the first ones of an outer object that may be a call, which then ends with a bracket of its own; empty: the
    head is no object.
    """

    def __init__(self, calls: Calls, head: re.Pattern[str], keys: tuple[str, ...] = ()) -> None:
        self._calls = calls
        self._head = head
        self._keys = keys
        self._end: BracketEnd | None = None
        self._is_over = False  # the arguments are

    def feed(self, text: str, *, final: bool) -> tuple[int, State]:
        if self._is_over:
            return self._outer_end(text, final)
        at = 0
        if self._end is None:
            head = self._head.match(text)
            if head is None:
                return 0, State.NOT if final or self._cannot(text) else State.MORE
            name = known(head[1], self._calls)
            if name is None:
                return 0, State.NOT
            self._calls.begin(name)
            self._end, at = BracketEnd(), head.end()
        end = self._end.find(text[at:])
        piece = text[at:] if end is None else text[at : at + end]
        if piece:
            self._calls.arguments(piece)
        at += len(piece)
        if end is None:
            return at, State.MORE
        self._is_over = True
        consumed, state = self._outer_end(text[at:], final)
        return at + consumed, state

    def _outer_end(self, text: str, final: bool) -> tuple[int, State]:
        stripped = text.lstrip()
        if not self._keys or final:
            return (len(text) if final else 0), State.DONE
        if not stripped:
            return 0, State.MORE
        return (len(text) - len(stripped) + 1 if stripped[0] == "}" else 0), State.DONE

    def _cannot(self, text: str) -> bool:
        if len(text) > MAX_HEAD_CHARS:
            return True
        stripped = text.lstrip()
        if not self._keys or not stripped:
            return False
        return not _may_begin_call(text, self._keys, self._calls)


class WholeJson:
    """An object or a list of calls whose keys stand in any order; read when it is whole."""

    def __init__(self, calls: Calls, first: str) -> None:
        self._calls = calls
        self._first = first
        self._unread = Unread()

    def feed(self, text: str, *, final: bool) -> tuple[int, State]:
        stripped = text.lstrip()
        if (stripped and stripped[0] != self._first) or len(text) > MAX_BODY_CHARS:
            return 0, State.NOT
        begin = len(text) - len(stripped)
        end = BracketEnd().find(stripped) if self._unread.has(text, CLOSERS) else None
        if end is None:
            return 0, State.NOT if final else State.MORE
        try:
            value = json.loads(stripped[:end], strict=False)
        except (ValueError, RecursionError):
            return 0, State.NOT
        found = [_json_call(item, self._calls) for item in (value if isinstance(value, list) else [value])]
        whole = [call for call in found if call is not None]
        if not whole or len(whole) != len(found):
            return 0, State.NOT
        for name, arguments in whole:
            tell(self._calls, name, arguments)
        return begin + end, State.DONE


class OtherKeys(WholeJson):
    """An object that begins with another key of a call than its name."""

    def __init__(self, calls: Calls) -> None:
        super().__init__(calls, "{")

    def feed(self, text: str, *, final: bool) -> tuple[int, State]:
        if text.strip() and not _may_begin_call(text, CALL_KEYS, self._calls):
            return 0, State.NOT
        return super().feed(text, final=final)


def _may_begin_call(text: str, keys: tuple[str, ...], calls: Calls) -> bool:
    """Whether an object may be a call, by its first key; where that is the name, by the name."""
    found = JSON_KEY.match(text)
    if found is None or (found[2] and not found[1]):
        return False
    named = JSON_NAME.match(text)
    if named is not None:
        return known(named[1], calls) is not None
    return any(key == found[2] if found[3] else key.startswith(found[2]) for key in keys)


def _json_call(value: object, calls: Calls) -> tuple[str, object] | None:
    if not isinstance(value, dict):
        return None
    function = value.get("function")
    inner: dict[str, Any] = function if isinstance(function, dict) else value
    name = inner.get("name", inner.get("tool_name"))
    arguments: object = next((inner[key] for key in ("arguments", "parameters") if key in inner), {})
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError:
            return None
    meant = known(name, calls) if isinstance(name, str) else None
    return (meant, arguments) if meant is not None and isinstance(arguments, dict) else None


class Python:
    """`[name(key="value"), …]`, or one call without brackets; read when it is whole."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._unread = Unread()

    def feed(self, text: str, *, final: bool) -> tuple[int, State]:
        head = PYTHON_HEAD.match(text)
        if head is None:
            return 0, State.MORE if not final and text.strip() in ("", "[") else State.NOT
        begun, tools = head[1], self._calls.tools
        is_name = known(begun, self._calls) if head[2] or final else any(t.startswith(begun) for t in tools) or None
        if is_name is None and not (begun.startswith("functions") and not head[2]):
            return 0, State.NOT
        ready = bool(head[2]) and self._unread.has(text, CLOSERS)
        end = BracketEnd(quotes="\"'").find(text) if ready else None
        if end is None or len(text) > MAX_BODY_CHARS:
            return 0, State.NOT if final or len(text) > MAX_BODY_CHARS else State.MORE
        try:
            found = python_calls(text[:end])
        except ValueError:
            return 0, State.NOT
        named = [(known(name, self._calls), by_key, by_place) for name, by_key, by_place in found]
        if not named or any(name is None for name, _, _ in named):
            return 0, State.NOT
        for name, by_key, by_place in named:
            assert name is not None, "unknown names were refused"
            places = list(_properties(tools[name]))
            tell(self._calls, name, {**dict(zip(places, by_place, strict=False)), **by_key})
        return end, State.DONE


@dataclass(frozen=True, slots=True)
class Tags:
    """begins: what the text of such a call may begin with, however short."""

    begins: re.Pattern[str]
    head: re.Pattern[str]
    parameter: re.Pattern[str]
    end: re.Pattern[str]


class Tagged:
    """A name, then parameters each between tags, then an end; typed by the tool's schema."""

    def __init__(self, calls: Calls, tags: Tags) -> None:
        self._calls = calls
        self._tags = tags
        self._unread = Unread()
        self._tool: ToolSpec | None = None
        self._num_told = 0

    def feed(self, text: str, *, final: bool) -> tuple[int, State]:
        at = 0
        if self._tool is None:
            head = self._tags.head.match(text)
            if head is None:
                wrong = len(text) > MAX_HEAD_CHARS or not self._tags.begins.match(text)
                return 0, State.NOT if final or wrong else State.MORE
            name = known(head[1], self._calls)
            if name is None:
                return 0, State.NOT
            self._calls.begin(name)
            self._tool, at = self._calls.tools[name], head.end()
        if not self._unread.has(text, OPENERS):
            return at, State.MORE
        while found := self._tags.parameter.match(text, at):
            self._tell(found[1].strip(), found[2])
            at = found.end()
        ended = self._tags.end.match(text, at)
        if ended is None:
            if at:
                self._unread.forget()
            return at, State.MORE
        self._calls.arguments("}" if self._num_told else "{}")
        return ended.end(), State.DONE

    def _tell(self, key: str, text: str) -> None:
        assert self._tool is not None, "parameters follow a head"
        value = typed(text.removeprefix("\n").removesuffix("\n"), _properties(self._tool).get(key))
        begin = ", " if self._num_told else "{"
        self._num_told += 1
        self._calls.arguments(f"{begin}{json.dumps(key)}: {_spelled(value)}")


class Braced:
    """`call:name{…}` with texts between marks of their own; read when it is whole."""

    HEAD = re.compile(r"\s*call:([\w.-]+)(?=\{)")

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._unread = Unread()

    def feed(self, text: str, *, final: bool) -> tuple[int, State]:
        head = self.HEAD.match(text)
        if head is None:
            return 0, State.NOT if final or len(text) > MAX_HEAD_CHARS else State.MORE
        name = known(head[1], self._calls)
        if name is None or len(text) > MAX_BODY_CHARS:
            return 0, State.NOT
        find = BracketEnd(quotes='"', delimiters=DELIMITERS).find
        end = find(text[head.end() :]) if self._unread.has(text, CLOSERS) else None
        if end is None:
            return 0, State.NOT if final else State.MORE
        try:
            arguments = braced_object(text[head.end() : head.end() + end], DELIMITERS)
        except (ValueError, RecursionError):
            return 0, State.NOT
        tell(self._calls, name, arguments)
        return head.end() + end, State.DONE


def _properties(tool: ToolSpec) -> Mapping[str, Any]:
    properties = tool.parameters.get("properties")
    return properties if isinstance(properties, Mapping) else {}


_XML = Tags(
    re.compile(r"\s*(?:<(?:f(?:u(?:n(?:c(?:t(?:i(?:o(?:n(?:$|=.*)|$)|$)|$)|$)|$)|$)|$)|$)|$)", re.DOTALL),
    re.compile(r"\s*<function=([^>\n]+)>"),
    re.compile(r"\s*<parameter=([^>\n]+)>(.*?)(?:</parameter>|(?=<parameter=|</function>))", re.DOTALL),
    re.compile(r"\s*(?:</function>|(?=</tool_call>))"),
)
_KEY_VALUE = Tags(
    re.compile(r"\s*(?:\w|$)"),
    re.compile(r"\s*([\w.-]+)\s*(?=<)"),
    re.compile(r"\s*<arg_key>(.*?)</arg_key>\s*<arg_value>(.*?)</arg_value>", re.DOTALL),
    re.compile(r"\s*(?=</tool_call>)"),
)
BODIES: dict[Syntax, tuple[Callable[[Calls], Body], ...]] = {
    Syntax.JSON: (lambda calls: HeadAndObject(calls, JSON_HEAD, CALL_KEYS[:1]), OtherKeys),
    Syntax.JSON_LIST: (lambda calls: WholeJson(calls, "["),),
    Syntax.PYTHONIC: (Python,),
    Syntax.XML: (lambda calls: Tagged(calls, _XML),),
    Syntax.KEY_VALUE: (lambda calls: Tagged(calls, _KEY_VALUE),),
    Syntax.NAMED: (lambda calls: HeadAndObject(calls, NAMED_HEAD),),
    Syntax.DEEPSEEK: (lambda calls: HeadAndObject(calls, DEEPSEEK_HEAD),),
    Syntax.BRACED: (Braced,),
}
