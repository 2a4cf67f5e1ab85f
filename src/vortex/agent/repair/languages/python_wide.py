"""Wide changes of a Python function: statements added, moved and copied, conditions joined, expressions taken from
elsewhere in the same function. Thousands for a function of ordinary size, so they come last and within a limit.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator, Sequence

from vortex.agent.repair.languages.python_basic import local_names, own_nodes
from vortex.agent.repair.languages.python_source import FUNCTIONS, Edit, Source

BLOCKS = (ast.For, ast.While, ast.If, ast.With, ast.AsyncFor, ast.AsyncWith, ast.Try)
SIMPLE = (ast.Expr, ast.Assign, ast.AugAssign, ast.Return, ast.Break, ast.Continue)
RESULTS = ("[]", "0", "None", "False", "True", '""', "{}", "1", "-1")
CALLS = ("abs", "len", "list", "sorted", "set", "str", "int", "tuple", "dict", "sum")
ENDINGS = (".copy()", ".lower()", ".strip()", "[::-1]", "[0]", "[1:]", "[:-1]")
MAX_DONORS = 40


def wide_edits(source: Source, function: ast.AST) -> Iterator[Edit]:
    names = local_names(function)
    nodes = list(own_nodes(function))
    yield from guards(source, function)
    yield from added(source, nodes, names)
    yield from conditions(source, nodes, names)
    yield from moved(source, nodes)
    yield from copied(source, nodes)
    yield from grafted(source, nodes)
    yield from wrapped(source, nodes)


def guards(source: Source, function: ast.AST) -> Iterator[Edit]:
    """A case that is answered at once, at the function's beginning."""
    body = [one for one in getattr(function, "body", []) if not _is_docstring(one)]
    if not body or not source.own_lines(body[0]):
        return
    indent, (start, _) = source.indent_of(body[0]), source.lines_of(body[0])
    parameters = [node.arg for node in ast.walk(getattr(function, "args", function)) if isinstance(node, ast.arg)]
    tests = [f"not {one}" for one in parameters] + [f"{one} < 0" for one in parameters]
    tests += [f"{one} is None" for one in parameters] + [f"len({one}) == 1" for one in parameters]
    for test in tests:
        for result in dict.fromkeys((*RESULTS, *parameters)):
            yield Edit(start, start, f"{indent}if {test}:\n{indent}    return {result}\n", "guard")


def added(source: Source, nodes: Sequence[ast.AST], names: Sequence[str]) -> Iterator[Edit]:
    """A short statement behind another: a way out, a counter, an element taken in."""
    for node in nodes:
        if not isinstance(node, ast.stmt) or not source.own_lines(node) or isinstance(node, FUNCTIONS):
            continue
        indent, (_, end) = source.indent_of(node), source.lines_of(node)
        texts = ["continue", "break", "return"]
        for one in names:
            texts += [f"return {one}", f"{one} += 1", f"{one} -= 1", f"{one} = abs({one})", f"{one} = []", f"{one} = 0"]
            texts += [f'{one} = ""']
        for one in names:  # what takes one name comes before what takes two
            for other in names:
                if other != one:
                    texts += [
                        f"{one}.append({other})",
                        f"{one}.add({other})",
                        f"{one} = {other}",
                        f"{one} %= len({other})",
                    ]
        for text in texts:
            yield Edit(end, end, f"{indent}{text}\n", "statement added")
            if node is nodes[0]:
                start, _ = source.lines_of(node)
                yield Edit(start, start, f"{indent}{text}\n", "statement added")


def conditions(source: Source, nodes: Sequence[ast.AST], names: Sequence[str]) -> Iterator[Edit]:
    """A condition joined with another one of the function, or with a name's truth."""
    tests = [node.test for node in nodes if isinstance(node, ast.If | ast.While | ast.IfExp)]
    parts = [source.segment(node) for node in nodes if isinstance(node, ast.Compare)]
    parts += [text for one in names for text in (one, f"not {one}")]
    for test in tests:
        text = source.segment(test)
        left = f"({text})" if isinstance(test, ast.BoolOp | ast.IfExp) else text
        for part in dict.fromkeys(parts):
            if part != text:
                yield source.replace(test, f"{left} or {part}", "condition joined")
                yield source.replace(test, f"{left} and {part}", "condition joined")
                yield source.replace(test, f"{part} and {left}", "condition joined")
                yield source.replace(test, f"{part} or {left}", "condition joined")


def moved(source: Source, nodes: Sequence[ast.AST]) -> Iterator[Edit]:
    """A statement past its neighbour, out of its block, or into the block before it."""
    for node in nodes:
        for body in (getattr(node, "body", None), getattr(node, "orelse", None)):
            if isinstance(body, list) and body:
                yield from _moved_out(source, node, body)
    for body in _bodies(nodes, source):
        for first, second in itertools.pairwise(body):
            if not (source.own_lines(first) and source.own_lines(second)):
                continue
            start, middle = source.lines_of(first)[0], source.lines_of(second)[0]
            end = source.lines_of(second)[1]
            one, other = source.data[start:middle].decode(), _line(source.data[middle:end].decode())
            yield Edit(start, end, other + one, "statements swapped")
            if isinstance(first, BLOCKS) and isinstance(second, SIMPLE):
                inner = source.indent_of(first.body[0])
                yield Edit(middle, end, _indented(source.segment(second), inner), "statement moved in")


def _moved_out(source: Source, node: ast.AST, body: Sequence[ast.stmt]) -> Iterator[Edit]:
    if not isinstance(node, BLOCKS) or not source.own_lines(body[0]) or not source.own_lines(body[-1]):
        return
    indent = source.indent_of(node)
    if source.data[source.span(node)[0] :].startswith(b"elif"):
        return
    last_start, last_end = source.lines_of(body[-1])
    if len(body) > 1:
        yield Edit(last_start, last_end, _indented(source.segment(body[-1]), indent), "statement moved out")
        first_start, first_end = source.lines_of(body[0])
        start, _ = source.lines_of(node)
        before = source.data[start:first_start].decode()
        yield Edit(start, first_end, _indented(source.segment(body[0]), indent) + before, "statement moved out")


def copied(source: Source, nodes: Sequence[ast.AST]) -> Iterator[Edit]:
    """A statement of the function once more, behind another one; a whole small `if` likewise."""
    statements = [node for node in nodes if isinstance(node, ast.stmt) and source.own_lines(node)]
    texts = [source.segment(node) for node in statements if isinstance(node, SIMPLE)]
    small = [node for node in statements if isinstance(node, ast.If) and len(node.body) == 1 and not node.orelse]
    pieces = list(dict.fromkeys(texts))[:MAX_DONORS]
    for place in statements:
        indent, (_, end) = source.indent_of(place), source.lines_of(place)
        for text in pieces:
            if text != source.segment(place):
                yield Edit(end, end, _indented(text, indent), "statement copied")
        for node in small:
            test, inner = source.segment(node.test), source.segment(node.body[0])
            if node is not place:
                yield Edit(end, end, f"{indent}if {test}:\n{indent}    {inner}\n", "statement copied")


def grafted(source: Source, nodes: Sequence[ast.AST]) -> Iterator[Edit]:
    """An expression in another's place; tests for tests, values for values."""
    values = [
        node
        for node in nodes
        if isinstance(
            node, ast.Call | ast.BinOp | ast.Subscript | ast.Attribute | ast.Name | ast.Constant | ast.Compare
        )
        and isinstance(getattr(node, "ctx", ast.Load()), ast.Load)
    ]
    donors: dict[bool, dict[str, None]] = {True: {}, False: {}}
    for node in values:
        donors[isinstance(node, ast.Compare)][source.segment(node)] = None
    for node in values:
        parent = source.parents.get(node)
        if isinstance(parent, ast.Call) and node is parent.func:
            continue
        is_test = isinstance(node, ast.Compare)
        for text in list(donors[is_test])[:MAX_DONORS]:
            if text != source.segment(node):
                yield source.replace(node, text, "expression grafted")
    for node in values:
        if isinstance(node, ast.Call | ast.Subscript | ast.Name) and not isinstance(source.parents.get(node), ast.Call):
            for text in list(donors[False])[:MAX_DONORS]:
                for sign in ("+", "-"):
                    yield source.replace(node, f"{text} {sign} {source.segment(node)}", "expression joined")


def wrapped(source: Source, nodes: Sequence[ast.AST]) -> Iterator[Edit]:
    for node in nodes:
        if isinstance(node, ast.Name | ast.Subscript | ast.Call | ast.BinOp | ast.Attribute) and isinstance(
            getattr(node, "ctx", ast.Load()), ast.Load
        ):
            parent = source.parents.get(node)
            if isinstance(parent, ast.Call) and node is parent.func:
                continue
            text = source.segment(node)
            for call in CALLS:
                yield source.replace(node, f"{call}({text})", "wrapped")
            yield source.replace(node, f"max({text}, 0)", "wrapped")
            tight = f"({text})" if isinstance(node, ast.BinOp) else text
            for ending in ENDINGS:
                yield source.replace(node, tight + ending, "wrapped")


def _bodies(nodes: Sequence[ast.AST], source: Source) -> Iterator[list[ast.stmt]]:
    seen: set[int] = set()
    for node in nodes:
        parent = source.parents.get(node)
        for body in (getattr(parent, name, None) for name in ("body", "orelse", "finalbody")):
            if isinstance(body, list) and len(body) > 1 and id(body) not in seen:
                seen.add(id(body))
                yield body


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _line(text: str) -> str:
    return text if text.endswith("\n") else text + "\n"


def _indented(text: str, indent: str) -> str:
    return "".join(f"{indent}{line.strip() if index == 0 else line}\n" for index, line in enumerate(text.split("\n")))
