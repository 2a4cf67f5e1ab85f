"""Jinja's sandbox with an end: a template may loop, join and fill only so far.

Templates come with models, so they are foreign code. The sandbox keeps them from the machine; this keeps them from its
time and memory: every loop and call is counted and looks at the clock, and whatever makes a text or a list longer
(operators, filters, methods of strings) is looked at before it does. No single step can take long, so a rendering ends
within `MAX_SECONDS` and a little, on whatever thread it runs.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Sized
from typing import Any

from jinja2 import TemplateError, nodes
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

MAX_SECONDS = 2.0
MAX_STEPS = 1_000_000  # rounds of loops, and calls
MAX_CHARS = 32 * 2**20  # of a text
MAX_MEMBERS = 2**20  # of a list
MAX_MADE_CHARS = 4 * MAX_CHARS  # by all filters and methods of one rendering
MAX_SLOW_CHARS = 2**18  # of a text that goes through a filter which looks at every word
MAX_WIDTH = 100_000  # that a text is filled up to, and any other number given to a filter or method
MAX_INDENT = 64
MAX_BITS = 4096  # of a number
WIDE = re.compile(r"[%:.][^A-Za-z%]*\d{6}")  # in a format: a width or precision of a hundred thousand and more
CLOCK_EVERY = 64
_INDENTING = {"indent", "tojson"}


class TemplateTooCostly(TemplateError):
    """The template asks for more than it may."""


class _Budget(threading.local):
    steps = 0
    made_chars = 0
    deadline_s = float("inf")


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """`begin` before each rendering, on the thread that renders."""

    intercepted_binops = frozenset({"*", "**", "%", "+"})

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._budget = _Budget()
        setattr(self, "concat", self._joined_output)  # noqa: B010  # Jinja's own seam, declared as a method
        self.globals.pop("lipsum", None)

    def bound_filters(self) -> None:
        """Every filter that is there now looks at its arguments first."""
        self.filters = {name: self._bounded(name, function) for name, function in self.filters.items()}

    def begin(self) -> None:
        self._budget.steps = self._budget.made_chars = 0
        self._budget.deadline_s = time.perf_counter() + MAX_SECONDS

    def _step(self, count: int = 1) -> None:
        budget = self._budget
        before = budget.steps
        budget.steps += count
        if budget.steps > MAX_STEPS:
            raise TemplateTooCostly(f"more than {MAX_STEPS} steps")
        if before // CLOCK_EVERY != budget.steps // CLOCK_EVERY:
            self._look_at_the_clock()

    def _look_at_the_clock(self) -> None:
        if time.perf_counter() > self._budget.deadline_s:
            raise TemplateTooCostly(f"more than {MAX_SECONDS:g} seconds")

    def _made(self, result: Any) -> Any:
        """What a filter or method gave, counted."""
        if isinstance(result, str):
            self._budget.made_chars += len(result)
            _check_length(len(result))
            if self._budget.made_chars > MAX_MADE_CHARS:
                raise TemplateTooCostly(f"more than {MAX_MADE_CHARS} characters by filters and methods")
        elif isinstance(result, list):
            _check_members(len(result))
        return result

    # --- what templates are compiled to -----------------------------------------------------------------------------

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for loop in list(tree.find_all(nodes.For)):
            loop.iter = _call("bounded_rounds", loop.iter)
        _replace_joins(tree)
        tree.set_environment(self)
        return tree

    def bounded_rounds(self, items: Iterable[Any]) -> Iterable[Any]:
        """What a loop runs over, counted; sized as it was, since templates ask for `loop.length`."""
        if not isinstance(items, Sized):
            items = list(self._counted(items))
        self._step(len(items) + CLOCK_EVERY)
        return items

    def _counted(self, items: Iterable[Any]) -> Iterable[Any]:
        for item in items:
            self._step()
            yield item

    def joined_texts(self, parts: list[Any]) -> str:
        texts = [str(part) for part in parts]
        _check_length(sum(map(len, texts)))
        return "".join(texts)

    def _joined_output(self, pieces: Iterable[str]) -> str:
        texts = list(pieces)  # as many as there were steps, which are bounded
        _check_length(sum(map(len, texts)))
        return "".join(texts)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "+" and type(left) is str and type(right) is str:  # what templates do most
            _check_length(len(left) + len(right))
            return left + right
        _check_operands(operator, left, right)
        result = super().call_binop(context, operator, left, right)
        if isinstance(result, str):
            _check_length(len(result))
        elif isinstance(result, list | tuple):
            _check_members(len(result))
        return result

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        inner = super().wrap_str_format(value)
        if inner is None:
            return None
        format_text, owner = inner, str(getattr(value, "__self__", ""))

        def checked(*args: Any, **kwargs: Any) -> str:
            named = args[0] if args and isinstance(args[0], dict) else kwargs
            _check_arguments("format", owner, () if named is not kwargs else args, named)
            return format_text(*args, **kwargs)

        return checked

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # Jinja's own
        __self._step()
        owner = getattr(__obj, "__self__", None)
        if isinstance(owner, str):
            name = getattr(__obj, "__name__", "")
            if name in _COSTLY:
                _check_arguments(name, owner, args, kwargs)
            return __self._made(super().call(__context, __obj, *args, **kwargs))
        return super().call(__context, __obj, *args, **kwargs)

    def _bounded(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The filter behind a check; what Jinja passes to it first (context, environment) stays as it is."""
        skipped = 1 if hasattr(function, "jinja_pass_arg") else 0

        def counted(*args: Any, **kwargs: Any) -> Any:
            self._step()
            return self._made(function(*args, **kwargs))

        def checked(*args: Any, **kwargs: Any) -> Any:
            self._look_at_the_clock()
            given = args[skipped:]
            owner = given[0] if given and isinstance(given[0], str) else ""
            _check_arguments(name, owner, given[1:] if owner or name != "join" else given, kwargs)
            return self._made(function(*args, **kwargs))

        bounded = checked if name in _COSTLY else counted
        bounded.__dict__.update(getattr(function, "__dict__", {}))
        return bounded


def _call(name: str, argument: nodes.Node) -> nodes.Call:
    function = nodes.EnvironmentAttribute(name, lineno=argument.lineno)
    return nodes.Call(function, [argument], [], None, None, lineno=argument.lineno)


def _replace_joins(node: nodes.Node) -> None:
    """`a ~ b` as a call, everywhere below."""
    for field, value in list(node.iter_fields()):
        if isinstance(value, nodes.Node):
            _replace_joins(value)
            setattr(node, field, _joined(value))
        elif isinstance(value, list):
            for item in value:
                if isinstance(item, nodes.Node):
                    _replace_joins(item)
            setattr(node, field, [_joined(item) for item in value])


def _joined(value: Any) -> Any:
    if not isinstance(value, nodes.Concat):
        return value
    return _call("joined_texts", nodes.List(value.nodes, lineno=value.lineno))


def _check_length(length: int) -> None:
    if length > MAX_CHARS:
        raise TemplateTooCostly(f"a text of more than {MAX_CHARS} characters")


def _check_members(count: int) -> None:
    if count > MAX_MEMBERS:
        raise TemplateTooCostly(f"a list of more than {MAX_MEMBERS} members")


def _check_operands(operator: str, left: Any, right: Any) -> None:
    if operator == "*":
        repeated = next((value for value in (left, right) if isinstance(value, str | list | tuple)), None)
        if repeated is not None:
            count = right if isinstance(right, int) else left
            size = len(repeated) * count if isinstance(count, int) else 0
            (_check_length if isinstance(repeated, str) else _check_members)(size)
        elif isinstance(left, int) and isinstance(right, int):
            _check_bits(left.bit_length() + right.bit_length())
    elif operator == "**" and isinstance(left, int) and isinstance(right, int):
        _check_bits(max(left.bit_length(), 1) * abs(right))
    elif operator == "%" and isinstance(left, str):
        _check_arguments("format", left, right if isinstance(right, tuple) else (right,), {})


def _check_bits(bits: int) -> None:
    if bits > MAX_BITS:
        raise TemplateTooCostly(f"a number of more than {MAX_BITS} bits")


def _check_arguments(name: str, owner: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Before a filter or a method of a string: what it would fill, repeat or put in."""
    given = [*args, *kwargs.values()]
    limit = MAX_INDENT if name in _INDENTING else MAX_WIDTH
    is_wide = any(isinstance(value, int | float) and abs(value) > limit for value in given)
    if is_wide and (name in _INDENTING or name in _FILLING):
        raise TemplateTooCostly(f"'{name}' of more than {limit}")
    if name == "format" and WIDE.search(owner):
        raise TemplateTooCostly("a format of more than a hundred thousand characters")
    if name in _SLOW and len(owner) > MAX_SLOW_CHARS:
        raise TemplateTooCostly(f"'{name}' of more than {MAX_SLOW_CHARS} characters")
    texts = [value for value in given if isinstance(value, str)]
    if name == "replace" and len(texts) >= 2:  # the old and the new
        _check_length(len(owner) + owner.count(texts[0]) * len(texts[1]))
    elif name == "indent" and texts:
        _check_length(len(owner) + (owner.count("\n") + 1) * len(texts[0]))
    elif name == "join":
        items = next((value for value in given if isinstance(value, list | tuple | str)), ())
        _check_length(len(items) * len(owner))


_SLOW = {"wordwrap", "urlize", "title", "striptags", "xmlattr", "pprint", "wordcount"}
_FILLING = {
    *("center", "ljust", "rjust", "zfill", "expandtabs", "format", "batch", "slice", "wordwrap", "truncate", "round"),
    *("urlize", "format_map"),
}
_COSTLY = _SLOW | _FILLING | _INDENTING | {"replace", "join"}  # the others look at what they are given once
