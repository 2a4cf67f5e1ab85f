"""JavaScript as a second language that can be repaired, by tree-sitter's grammar (extra `agent`).

Changes are edits of tokens that the grammar names: operators, numbers, names, statements. Wide changes are guards and
copied statements alone.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from vortex.agent.repair.languages.language import Change, Function

if TYPE_CHECKING:
    from tree_sitter import Node, Parser

FUNCTION_KINDS = ("function_declaration", "function_expression", "arrow_function", "method_definition",
                  "generator_function_declaration")  # fmt: skip
SWAPS = {
    "<": "<= > >=", "<=": "< >= >", ">": ">= < <=", ">=": "> <= <", "==": "!= ===", "!=": "==", "===": "!==",
    "!==": "===",
    "+": "- *", "-": "+ *", "*": "/ + **", "/": "* %", "%": "/", "&&": "||", "||": "&&", "&": "| ^",
    "|": "& ^", "^": "& |",
    "+=": "-= =", "-=": "+= =", "*=": "/= +=", "++": "--", "--": "++", "<<": ">>", ">>": "<<", "??": "||",
}  # fmt: skip
SIBLINGS = ("push unshift", "pop shift", "max min", "floor ceil round trunc", "some every", "toLowerCase toUpperCase",
            "startsWith endsWith", "indexOf lastIndexOf", "slice splice substring", "keys values entries",
            "map forEach filter",
            "trim trimStart trimEnd", "parseInt parseFloat Number")  # fmt: skip
STATEMENTS = ("expression_statement", "return_statement", "break_statement", "continue_statement")
RESULTS = ("0", "[]", "null", "true", "false", '""')


class JavaScript:
    name = "javascript"
    suffixes = (".js", ".mjs", ".cjs")
    comment = "//"

    def is_installed(self) -> bool:
        return all(importlib.util.find_spec(name) for name in ("tree_sitter", "tree_sitter_javascript"))

    def functions(self, text: str) -> Sequence[Function]:
        root = _root(text)
        return [] if root is None else list(_functions(root, 0))

    def shape(self, text: str) -> str | None:
        root = _root(text)
        if root is None:
            return None
        return "\n".join(f"{node.type} {node.text.decode() if node.text else ''}" for node in _leaves(root))

    def basic(self, text: str, function: Function) -> Iterator[Change]:
        yield from self._changes(text, function, _basic)

    def wide(self, text: str, function: Function) -> Iterator[Change]:
        yield from self._changes(text, function, _wide)

    def _changes(self, text: str, function: Function, edits: object) -> Iterator[Change]:
        root = _root(text)
        if root is None or not callable(edits):
            return
        node = next((one for one in _walk(root) if one.type in FUNCTION_KINDS and _place(one) == function), None)
        data, seen = text.encode(), {self.shape(text)}
        for start, end, new, kind in edits(node, data) if node is not None else ():
            changed = (data[:start] + new.encode() + data[end:]).decode()
            shape = self.shape(changed)
            if shape is not None and shape not in seen:
                seen.add(shape)
                yield Change(changed, data[:start].count(b"\n") + 1, kind)


def _parser() -> Parser:
    import tree_sitter_javascript
    from tree_sitter import Language, Parser

    return Parser(Language(tree_sitter_javascript.language()))


def _root(text: str) -> Node | None:
    """None for a text with an error in it."""
    root = _parser().parse(text.encode()).root_node
    return None if root.has_error else root


def _walk(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from _walk(child)


def _leaves(node: Node) -> Iterator[Node]:
    return (one for one in _walk(node) if not one.children and one.type != "comment")


def _functions(node: Node, depth: int) -> Iterator[Function]:
    for child in node.children:
        if child.type in FUNCTION_KINDS:
            yield _place(child, depth)
            yield from _functions(child, depth + 1)
        else:
            yield from _functions(child, depth)


def _place(node: Node, depth: int | None = None) -> Function:
    name = node.child_by_field_name("name")
    holder = node.parent
    if name is None and holder is not None and holder.type == "variable_declarator":
        name = holder.child_by_field_name("name")
    outer: Node | None = node.parent
    if depth is None:
        depth = 0
        while outer is not None:
            depth += outer.type in FUNCTION_KINDS
            outer = outer.parent
    text = name.text.decode() if name is not None and name.text else "(anonymous)"
    return Function(text, node.start_point[0] + 1, node.end_point[0] + 1, depth)


_Edit = tuple[int, int, str, str]


def _basic(function: Node, data: bytes) -> Iterator[_Edit]:
    names = _names(function)
    body = function.child_by_field_name("body")
    for node in _walk(body) if body is not None else ():
        text = node.text.decode() if node.text else ""
        start, end = node.start_byte, node.end_byte
        if not node.is_named and text in SWAPS:
            for new in SWAPS[text].split():
                yield start, end, new, "operator"
        elif node.type == "number":
            for new in _numbers(text):
                yield start, end, new, "constant"
        elif node.type in {"true", "false"}:
            yield start, end, "false" if text == "true" else "true", "constant"
        elif node.type == "identifier":
            for other in names:
                if other != text and text in names:
                    yield start, end, other, "name"
            yield start, end, f"({text} + 1)", "one more or less"
            yield start, end, f"({text} - 1)", "one more or less"
        elif node.type == "property_identifier":
            for group in SIBLINGS:
                if text in group.split():
                    for other in group.split():
                        if other != text:
                            yield start, end, other, "sibling"
        elif node.type in {"member_expression", "binary_expression", "call_expression"}:
            yield start, end, f"({text} + 1)", "one more or less"
            yield start, end, f"({text} - 1)", "one more or less"
        elif (
            node.type == "parenthesized_expression"
            and node.parent
            and node.parent.type in {"if_statement", "while_statement"}
        ):
            yield start, end, f"(!{text})", "negated"
        elif node.type in STATEMENTS:
            yield start, end, ";", "statement dropped"


def _wide(function: Node, data: bytes) -> Iterator[_Edit]:
    body = function.child_by_field_name("body")
    if body is None or body.type != "statement_block":
        return
    at = body.start_byte + 1
    for one in _names(function):
        for result in RESULTS:
            yield at, at, f" if (!{one}) return {result};", "guard"
    statements = [node for node in _walk(body) if node.type in STATEMENTS]
    texts = dict.fromkeys(node.text.decode() for node in statements if node.text)
    for node in statements:
        for text in texts:
            yield node.end_byte, node.end_byte, f" {text}", "statement copied"
        for one in _names(function):
            yield node.end_byte, node.end_byte, f" return {one};", "statement added"


def _numbers(text: str) -> list[str]:
    try:
        value = int(text)
    except ValueError:
        return ["0", "1"]
    return [str(new) for new in dict.fromkeys((value + 1, value - 1, 0, 1)) if new != value]


def _names(function: Node) -> list[str]:
    """Parameters and what the function declares."""
    found: dict[str, None] = {}
    parameters = function.child_by_field_name("parameters") or function.child_by_field_name("parameter")
    for node in _walk(parameters) if parameters is not None else ():
        if node.type == "identifier" and node.text:
            found[node.text.decode()] = None
    for node in _walk(function):
        name = node.child_by_field_name("name") if node.type == "variable_declarator" else None
        if name is not None and name.type == "identifier" and name.text:
            found[name.text.decode()] = None
    return list(found)
