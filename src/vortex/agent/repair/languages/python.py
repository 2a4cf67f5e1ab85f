"""Python as a language that can be repaired, by the standard library's own parser."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence

from vortex.agent.repair.languages.language import Change, Function
from vortex.agent.repair.languages.python_basic import basic_edits
from vortex.agent.repair.languages.python_source import FUNCTIONS, Edit, Source, parsed
from vortex.agent.repair.languages.python_wide import wide_edits

Edits = Callable[[Source, ast.AST], Iterator[Edit]]


class Python:
    name = "python"
    suffixes = (".py",)
    comment = "#"

    def is_installed(self) -> bool:
        return True

    def functions(self, text: str) -> Sequence[Function]:
        tree = parsed(text)
        return [] if tree is None else sorted(_functions(tree, 0), key=lambda found: found.first_line)

    def shape(self, text: str) -> str | None:
        tree = parsed(text)
        return None if tree is None else ast.dump(tree)

    def basic(self, text: str, function: Function) -> Iterator[Change]:
        yield from self._changes(text, function, basic_edits)

    def wide(self, text: str, function: Function) -> Iterator[Change]:
        yield from self._changes(text, function, wide_edits)

    def _changes(self, text: str, function: Function, edits: Edits) -> Iterator[Change]:
        source = Source(text)
        node = source.function_at(function)
        if node is None:
            return
        seen = {self.shape(text)}
        for edit in edits(source, node):
            changed = source.edited(edit)
            shape = self.shape(changed)
            if shape is not None and shape not in seen:
                seen.add(shape)
                yield Change(changed, source.line_at(edit.start), edit.kind)


def _functions(node: ast.AST, depth: int) -> Iterator[Function]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, FUNCTIONS):
            first = min([child.lineno, *(decorator.lineno for decorator in child.decorator_list)])
            yield Function(child.name, first, child.end_lineno or first, depth)
            yield from _functions(child, depth + 1)
        else:
            yield from _functions(child, depth)
