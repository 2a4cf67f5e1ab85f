"""Repairs that an error message names by itself: an import that is missing, a key or a name that is nearly another.

Each rule reads the failing test's message and the traceback's place and yields whole changed texts. They come first:
what a message says outright needs no search. Python's messages only.
"""

from __future__ import annotations

import ast
import difflib
import re
import sys
from collections.abc import Iterator, Sequence

from vortex.agent.repair.languages.language import Change

KNOWN_NAMES = {
    "Counter": "collections", "defaultdict": "collections", "deque": "collections", "OrderedDict": "collections",
    "namedtuple": "collections", "dataclass": "dataclasses", "field": "dataclasses", "Path": "pathlib",
    "datetime": "datetime", "timedelta": "datetime", "date": "datetime", "timezone": "datetime", "Decimal": "decimal",
    "Fraction": "fractions", "partial": "functools", "reduce": "functools", "lru_cache": "functools",
    "wraps": "functools", "cache": "functools", "chain": "itertools", "product": "itertools",
    "combinations": "itertools", "permutations": "itertools", "groupby": "itertools", "accumulate": "itertools",
    "sqrt": "math", "ceil": "math", "floor": "math", "gcd": "math", "pi": "math", "log": "math", "prod": "math",
    "deepcopy": "copy", "contextmanager": "contextlib", "suppress": "contextlib", "ABC": "abc",
    "abstractmethod": "abc", "Enum": "enum", "itemgetter": "operator", "attrgetter": "operator", "StringIO": "io",
    "BytesIO": "io", "Any": "typing", "Optional": "typing", "Iterable": "collections.abc", "sleep": "time",
    "heappush": "heapq", "heappop": "heapq", "heapify": "heapq", "bisect_left": "bisect", "bisect_right": "bisect",
    "randint": "random", "uuid4": "uuid", "sha256": "hashlib",
}  # fmt: skip
NAME = re.compile(r"NameError: (?:free variable |local variable |cannot access local variable )?'?(?:name )?'(\w+)'")
KEY = re.compile(r"KeyError: (['\"])(.+?)\1")
ATTRIBUTE = re.compile(r"AttributeError: .*has no attribute '(\w+)'")
IMPORTED = re.compile(r"ImportError: cannot import name '(\w+)'")


def changes_by_rule(text: str, messages: Sequence[str]) -> Iterator[Change]:
    """For one file's text, of all failing tests' messages; each distinct text once."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return
    seen = {text}
    for message in dict.fromkeys(messages):
        for change in _from_message(text, tree, message):
            if change.text not in seen:
                seen.add(change.text)
                yield change


def _from_message(text: str, tree: ast.Module, message: str) -> Iterator[Change]:
    if found := NAME.search(message):
        name = found.group(1)
        if line := _import_of(name):
            yield _with_import(text, tree, line)
        for other in difflib.get_close_matches(name, sorted(_names(tree) - {name}), n=3, cutoff=0.6):
            yield from _renamed(text, name, other)
    if found := KEY.search(message):
        key = found.group(2)
        strings = {
            node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        for other in difflib.get_close_matches(key, sorted(strings - {key}), n=4, cutoff=0.4):
            for old, new in ((key, other), (other, key)):
                yield from _requoted(text, old, new)
    if found := ATTRIBUTE.search(message):
        name = found.group(1)
        attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)} | _names(tree)
        for other in difflib.get_close_matches(name, sorted(attributes - {name}), n=3, cutoff=0.6):
            yield from _renamed(text, name, other)
    if found := IMPORTED.search(message):
        name = found.group(1)
        for other in difflib.get_close_matches(name, sorted(_names(tree) - {name}), n=3, cutoff=0.6):
            yield from _renamed(text, name, other)
            yield from _renamed(text, other, name)


def _import_of(name: str) -> str | None:
    if name in KNOWN_NAMES:
        return f"from {KNOWN_NAMES[name]} import {name}"
    return f"import {name}" if name in sys.stdlib_module_names and not name.startswith("_") else None


def _with_import(text: str, tree: ast.Module, line: str) -> Change:
    """Behind the last import at the top, else behind the module's docstring."""
    at = 0
    for index, node in enumerate(tree.body):
        is_docstring = index == 0 and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if isinstance(node, ast.Import | ast.ImportFrom) or is_docstring:
            at = node.end_lineno or at
    lines = text.splitlines(keepends=True)
    return Change("".join([*lines[:at], f"{line}\n", *lines[at:]]), at + 1, "rule")


def _names(tree: ast.Module) -> set[str]:
    """Everything that is defined or bound anywhere in the file."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.alias):
            names.add((node.asname or node.name).split(".")[0])
    return names


def _renamed(text: str, old: str, new: str) -> Iterator[Change]:
    yield from _replaced(text, re.compile(rf"\b{re.escape(old)}\b"), new)


def _requoted(text: str, old: str, new: str) -> Iterator[Change]:
    for quote in "\"'":
        yield from _replaced(text, re.compile(re.escape(f"{quote}{old}{quote}")), f"{quote}{new}{quote}")


def _replaced(text: str, pattern: re.Pattern[str], new: str) -> Iterator[Change]:
    """Each place alone, then all together."""
    places = list(pattern.finditer(text))
    for place in places:
        line = text[: place.start()].count("\n") + 1
        yield Change(text[: place.start()] + new + text[place.end() :], line, "rule")
    if len(places) > 1:
        yield Change(pattern.sub(new.replace("\\", r"\\"), text), text[: places[0].start()].count("\n") + 1, "rule")
