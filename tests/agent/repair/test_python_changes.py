"""What can be changed in a Python function: every change is a program, another one, and within the function."""

from __future__ import annotations

import ast

import pytest

from vortex.agent.repair.languages.known import language_of
from vortex.agent.repair.languages.language import Function
from vortex.agent.repair.languages.python import Python

PROGRAM = '''"""A module."""

LIMIT = 3


def outer(values, size=2):  # a comment that stays
    """Doc."""
    total = 0
    for index, value in enumerate(values):
        if value > LIMIT and index <= size:
            total += value * (index + 1)
        else:
            continue
    return values[:size], total


class Thing:
    def method(self, naïve):
        def inner():
            return naïve - 1

        return inner()
'''


def test_functions_are_found_with_their_lines_and_depth() -> None:
    assert Python().functions(PROGRAM) == [
        Function("outer", 6, 14, 0),
        Function("method", 18, 22, 0),
        Function("inner", 19, 20, 1),
    ]
    assert Python().functions("def broken(:") == []


@pytest.mark.parametrize("name", ["outer", "method", "inner"])
@pytest.mark.parametrize("kind", ["basic", "wide"])
def test_every_change_is_another_program_and_stays_inside_its_function(name: str, kind: str) -> None:
    python = Python()
    function = next(one for one in python.functions(PROGRAM) if one.name == name)
    changes = list(getattr(python, kind)(PROGRAM, function))
    assert changes
    texts = [change.text for change in changes]
    assert len({ast.dump(ast.parse(text)) for text in texts}) == len(texts)
    before = PROGRAM.splitlines()[: function.first_line - 1]
    after = PROGRAM.splitlines()[function.last_line :]
    for change in changes:
        lines = change.text.splitlines()
        assert lines[: len(before)] == before
        assert lines[len(lines) - len(after) :] == after
        assert function.first_line <= change.line <= function.last_line + 1


@pytest.mark.parametrize(
    ("faulty", "right"),
    [
        ("if a < b:", "if a <= b:"),
        ("if a not in b:", "if a in b:"),
        ("if (a) < (b):", "if (a) <= (b):"),
        ("x = a + b / 2", "x = (a + b) / 2"),
        ("x = min(a, b)", "x = max(a, b)"),
        ("x = a[b]", "x = a[b - 1]"),
        ("x = range(len(a))", "x = range(len(a) - 1)"),
        ("x = a - b", "x = b - a"),
        ("x = divide(a, b)", "x = divide(b, a)"),
        ("x = a and b", "x = a or b"),
        ("x = 10", "x = 11"),
        ("x = a", "x = b"),
        ("x += a", "x = a"),
        ("x = a[1:b]", "x = a[:b]"),
        ("a.append(b)", "a.extend(b)"),
        ("while a:", "if a:"),
        ("x = (a, b)", "x = (b, a)"),
        ("x = not a", "x = a"),
    ],
)
def test_basic_changes_hold_what_is_commonly_wrong(faulty: str, right: str) -> None:
    def program(line: str) -> str:
        block = "        x = 1\n" if line.endswith(":") else ""
        return f"def f(a, b):\n    x = 0\n    {line}\n{block}    return x\n"

    python = Python()
    function = python.functions(program(faulty))[0]
    shapes = {python.shape(change.text) for change in python.basic(program(faulty), function)}
    assert python.shape(program(right)) in shapes


@pytest.mark.parametrize(
    ("faulty", "right"),
    [
        ("    return max(values)\n", "    if not values:\n        return 0\n    return max(values)\n"),
        ("    for one in values:\n        total = one\n    return total\n",
         "    for one in values:\n        total = one\n        break\n    return total\n"),
        ("    total = values\n    if len(values) > 1:\n        return 1\n    return total\n",
         "    total = values\n    if len(values) > 1 and total:\n        return 1\n    return total\n"),
        ("    for one in values:\n        pass\n    total = one\n    return total\n",
         "    for one in values:\n        pass\n        total = one\n    return total\n"),
    ],
)  # fmt: skip
def test_wide_changes_add_join_and_move(faulty: str, right: str) -> None:
    python = Python()
    head = "def f(values):\n"
    function = python.functions(head + faulty)[0]
    shapes = {python.shape(change.text) for change in python.wide(head + faulty, function)}
    assert python.shape(head + right) in shapes


def test_a_file_is_read_in_its_language_or_not_at_all() -> None:
    python = language_of("src/a.py")
    assert python is not None
    assert python.name == "python"
    assert language_of("notes.md") is None


JAVASCRIPT = """function largest(values) {
  let best = values[0];
  for (let i = 1; i <= values.length; i++) {
    if (values[i] > best) { best = values[i]; }
  }
  return best;
}
const twice = (n) => n + n;
"""


def test_javascript_is_a_language_too() -> None:
    pytest.importorskip("tree_sitter_javascript", reason="extra agent")
    language = language_of("a.mjs")
    assert language is not None
    functions = language.functions(JAVASCRIPT)
    assert [(one.name, one.first_line, one.last_line) for one in functions] == [("largest", 1, 7), ("twice", 8, 8)]
    texts = {change.text for change in language.basic(JAVASCRIPT, functions[0])}
    assert JAVASCRIPT.replace("i <= values", "i < values") in texts
    assert len(texts) == len({language.shape(text) for text in texts})
    assert all(language.functions(text) for text in texts)
    assert list(language.wide(JAVASCRIPT, functions[0]))
    assert language.functions("function (") == []
