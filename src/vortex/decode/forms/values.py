"""Values that models write in words of their own, as JSON: typed by a tool's schema, Python literals, Gemma's braces.

Pure functions. Raises ValueError for what cannot be read; never evaluates anything.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

MAX_DEPTH = 64
MAX_SOURCE_CHARS = 256 * 1024
PYTHON_WORDS = {"true": True, "false": False, "null": None, "none": None, "True": True, "False": False, "None": None}
BARE_KEY = re.compile(r"\s*([^\s:{}\[\],]+)\s*:")
BARE_VALUE = re.compile(r"[^,{}\[\]]*")


def typed(text: str, schema: object) -> Any:
    """A value written as plain text, read by what its schema says it is: text stays text, everything else is JSON
    where it is that."""
    types = schema_types(schema)
    if types == {"string"}:
        return text
    stripped = text.strip()
    try:
        value = json.loads(stripped)
    except ValueError:
        value = PYTHON_WORDS.get(stripped, text)
    if isinstance(value, float) and value.is_integer() and types == {"integer"}:
        return int(value)
    if types and isinstance(value, str | int | float | bool | None) and not _fits(value, types):
        return text
    return value


def schema_types(schema: object) -> set[str]:
    """The types that a schema names at its top, through `anyOf` and lists; empty where it names none."""
    if not isinstance(schema, Mapping):
        return set()
    named = schema.get("type")
    types = {named} if isinstance(named, str) else {t for t in named or () if isinstance(t, str)}
    for keyword in ("anyOf", "oneOf"):
        for member in schema.get(keyword) or ():
            types |= schema_types(member)
    if not types and isinstance(schema.get("enum"), list) and all(isinstance(item, str) for item in schema["enum"]):
        return {"string"}
    return types


def _fits(value: object, types: set[str]) -> bool:
    if isinstance(value, bool):
        return "boolean" in types
    if isinstance(value, int):
        return bool({"integer", "number"} & types)
    if isinstance(value, float):
        return "number" in types
    return value is None and "null" in types


def python_calls(source: str) -> list[tuple[str, dict[str, Any], list[Any]]]:
    """`[f(a=1), g("x")]` or one call alone: (name, keyword arguments, positional arguments)."""
    if len(source) > MAX_SOURCE_CHARS:
        raise ValueError("too long")
    try:
        tree = ast.parse(source.strip(), mode="eval").body
        calls = tree.elts if isinstance(tree, ast.List | ast.Tuple) else [tree]
        return [_python_call(call) for call in calls]
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError("no list of calls") from error


def _python_call(node: ast.expr) -> tuple[str, dict[str, Any], list[Any]]:
    if not isinstance(node, ast.Call):
        raise ValueError("no call")
    keywords = {keyword.arg: _python_value(keyword.value) for keyword in node.keywords if keyword.arg is not None}
    if len(keywords) != len(node.keywords):
        raise ValueError("unpacked arguments")
    return ast.unparse(node.func), keywords, [_python_value(value) for value in node.args]


def _python_value(node: ast.expr) -> Any:
    if isinstance(node, ast.Name) and node.id in PYTHON_WORDS:
        return PYTHON_WORDS[node.id]
    if isinstance(node, ast.List | ast.Tuple):
        return [_python_value(item) for item in node.elts]
    if isinstance(node, ast.Dict):
        return {_key(key): _python_value(value) for key, value in zip(node.keys, node.values, strict=True)}
    value = ast.literal_eval(node)
    try:
        json.dumps(value)
    except TypeError as error:  # sets, bytes and complex numbers are no JSON
        raise ValueError("a value that is no JSON") from error
    return value


def _key(node: ast.expr | None) -> str:
    if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
        raise ValueError("a key that is no text")
    return node.value


def braced_object(source: str, delimiters: Sequence[str]) -> dict[str, Any]:
    """Gemma's `{key:<|"|>text<|"|>,other:3,list:[…]}`; keys may be quoted too."""
    value, end = _braced(source, 0, delimiters, 0)
    if not isinstance(value, dict) or source[end:].strip():
        raise ValueError("no object")
    return value


def _braced(source: str, at: int, delimiters: Sequence[str], depth: int) -> tuple[Any, int]:
    if depth > MAX_DEPTH:
        raise ValueError("nested too deep")
    at = _skipped(source, at)
    for mark in (*delimiters, '"'):
        if source.startswith(mark, at):
            return _quoted(source, at, mark)
    if source.startswith("{", at):
        return _members(source, at + 1, delimiters, depth)
    if source.startswith("[", at):
        items: list[Any] = []
        at = _skipped(source, at + 1)
        while not source.startswith("]", at):
            item, at = _braced(source, at, delimiters, depth + 1)
            items.append(item)
            at = _comma(source, at, "]")
        return items, at + 1
    found = BARE_VALUE.match(source, at)
    word = found[0] if found else ""
    if not word.strip():
        raise ValueError("a value is missing")
    return typed(word.strip(), {}), at + len(word)


def _members(source: str, at: int, delimiters: Sequence[str], depth: int) -> tuple[dict[str, Any], int]:
    members: dict[str, Any] = {}
    at = _skipped(source, at)
    while not source.startswith("}", at):
        mark = next((mark for mark in (*delimiters, '"') if source.startswith(mark, at)), None)
        if mark is not None:
            key, at = _quoted(source, at, mark)
            at = _skipped(source, at)
            if not source.startswith(":", at):
                raise ValueError("a colon is missing")
            at += 1
        else:
            found = BARE_KEY.match(source, at)
            if found is None:
                raise ValueError("a key is missing")
            key, at = found[1], found.end()
        members[key], at = _braced(source, at, delimiters, depth + 1)
        at = _comma(source, at, "}")
    return members, at + 1


def _quoted(source: str, at: int, mark: str) -> tuple[str, int]:
    if mark == '"':
        value, end = json.JSONDecoder(strict=False).raw_decode(source, at)
        return value, end
    start = at + len(mark)
    end = source.find(mark, start)
    if end < 0:
        raise ValueError("a text has no end")
    return source[start:end], end + len(mark)


def _comma(source: str, at: int, closing: str) -> int:
    at = _skipped(source, at)
    if source.startswith(",", at):
        return _skipped(source, at + 1)
    if not source.startswith(closing, at):
        raise ValueError(f"{closing} is missing")
    return at


def _skipped(source: str, at: int) -> int:
    while at < len(source) and source[at].isspace():
        at += 1
    return at
