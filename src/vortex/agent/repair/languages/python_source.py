"""A Python program's text with its tree: where nodes stand in the bytes, and edits of spans.

Changes are edits of spans of the text, so that everything beside them stays byte for byte as it was, comments included.
"""

from __future__ import annotations

import ast
import warnings
from dataclasses import dataclass

from vortex.agent.repair.languages.language import Function

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True, slots=True)
class Edit:
    """Bytes [start, end) of the text become `new`."""

    start: int
    end: int
    new: str
    kind: str


def parsed(text: str) -> ast.Module | None:
    """None for a text that does not compile (`return` outside a function is no program either)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a change may look odd (`is` with a literal) and still be one
            compile(text, "<repair>", "exec", dont_inherit=True)
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


class Source:
    """A program's text with its tree, and where in the bytes each node stands."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.data = text.encode()
        self.tree = parsed(text) or ast.Module(body=[], type_ignores=[])
        self._line_starts = [0]
        for line in text.encode().split(b"\n"):
            self._line_starts.append(self._line_starts[-1] + len(line) + 1)
        self.parents = {child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)}

    def function_at(self, function: Function) -> ast.AST | None:
        for node in ast.walk(self.tree):
            if isinstance(node, FUNCTIONS) and node.name == function.name and node.end_lineno == function.last_line:
                return node
        return None

    def span(self, node: ast.AST) -> tuple[int, int]:
        assert isinstance(node, ast.expr | ast.stmt), "only what stands in the text has a span"
        assert node.end_lineno is not None, "a parsed node knows its end"
        assert node.end_col_offset is not None, "a parsed node knows its end"
        start = self._line_starts[node.lineno - 1] + node.col_offset
        return start, self._line_starts[node.end_lineno - 1] + node.end_col_offset

    def segment(self, node: ast.AST) -> str:
        start, end = self.span(node)
        return self.data[start:end].decode()

    def indent_of(self, node: ast.stmt) -> str:
        start = self._line_starts[node.lineno - 1]
        return self.data[start : start + node.col_offset].decode()

    def lines_of(self, node: ast.stmt) -> tuple[int, int]:
        """Whole lines of a statement, its newline included."""
        assert node.end_lineno is not None, "a parsed node knows its end"
        return self._line_starts[node.lineno - 1], min(self._line_starts[node.end_lineno], len(self.data))

    def own_lines(self, node: ast.stmt) -> bool:
        """The statement shares its lines with no other."""
        start, end = self.span(node)
        first, last = self.lines_of(node)
        before, after = self.data[first:start], self.data[end:last]
        return not before.strip() and (not after.strip() or after.strip().startswith(b"#"))

    def line_at(self, offset: int) -> int:
        return self.data[:offset].count(b"\n") + 1

    def edited(self, edit: Edit) -> str:
        return (self.data[: edit.start] + edit.new.encode() + self.data[edit.end :]).decode()

    def replace(self, node: ast.AST, new: str, kind: str) -> Edit:
        """An expression in another's place, in brackets where what stands around it could read it differently."""
        start, end = self.span(node)
        parent = self.parents.get(node)
        tight = isinstance(parent, ast.BinOp | ast.UnaryOp | ast.Compare | ast.BoolOp | ast.Attribute | ast.Starred)
        tight = tight or (isinstance(parent, ast.Subscript | ast.Call) and node is parent_head(parent))
        if tight and not _is_tight(new):
            new = f"({new})"
        return Edit(start, end, new, kind)


def parent_head(node: ast.Subscript | ast.Call) -> ast.AST:
    return node.value if isinstance(node, ast.Subscript) else node.func


def _is_tight(text: str) -> bool:
    """Reads the same whatever stands around it."""
    try:
        node = ast.parse(text, mode="eval").body
    except SyntaxError:
        return False
    return isinstance(node, ast.Name | ast.Constant | ast.Call | ast.Subscript | ast.Attribute | ast.List | ast.Dict)


def unparsed(node: ast.AST) -> str:
    return ast.unparse(ast.fix_missing_locations(node))
