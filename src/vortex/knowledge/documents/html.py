"""HTML: what a reader of the page sees, under its headings; menus, scripts, forms and hidden parts are left out.

Parsed by selectolax (Lexbor), which expands no entities of a document's own and loads nothing. Lines are those of the
text as read, since a page has no lines of its own.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from vortex.knowledge.documents.blocks import Block, UnreadableDocument

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

_LEFT_OUT = ["script", "style", "noscript", "template", "nav", "footer", "aside", "form", "button", "svg", "iframe"]
_HIDDEN = ["[hidden]", '[aria-hidden="true"]', '[style*="display:none"]', '[style*="display: none"]', ".headerlink"]
_BLOCKS = {
    "p", "li", "dt", "dd", "tr", "pre", "blockquote", "figcaption", "caption", "div", "section", "article", "main",
    "ul", "ol", "dl", "table", "header", "details", "summary", "hr", "br", "address",
}  # fmt: skip
_CELLS = {"td", "th"}
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_SPACES = re.compile(r"\s+")


def read_html(text: str) -> tuple[str, list[Block]]:
    """(title, blocks). Raises UnreadableDocument."""
    from selectolax.lexbor import LexborHTMLParser

    tree = LexborHTMLParser(text)
    title_node = tree.css_first("title")
    title = _squeezed(title_node.text()) if title_node else ""
    tree.strip_tags(_LEFT_OUT)
    for selector in _HIDDEN:
        for node in tree.css(selector):
            node.decompose()
    root = tree.css_first("main, article, [role=main]") or tree.body
    if root is None:
        raise UnreadableDocument("no text in the page")
    walk = _Walk()
    walk.through(root)
    return title, walk.blocks


class _Walk:
    """Nodes in document order, without recursion (pages may be nested deeply); text gathers until a block ends."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self._path: list[tuple[int, str]] = []
        self._text: list[str] = []
        self._line = 1

    def through(self, root: LexborNode) -> None:
        open_nodes = [(root, root.iter(include_text=True))]
        while open_nodes:
            node, children = open_nodes[-1]
            child = next(children, None)
            if child is None:
                open_nodes.pop()
                if node.tag in _BLOCKS:
                    self._close()
            elif self._goes_inside(child):
                open_nodes.append((child, child.iter(include_text=True)))
        self._close()

    def _goes_inside(self, node: LexborNode) -> bool:
        tag = node.tag or ""
        if tag == "-text":
            self._text.append(node.text(deep=False))
            return False
        if tag in _HEADINGS:
            self._close()
            self._enter(_HEADINGS[tag], _squeezed(node.text()))
            return False
        if tag == "pre":
            self._close()
            self._add(node.text().strip("\n"), by_lines=True)
            return False
        if tag in _CELLS:
            self._text.append(" | " if any(part.strip() for part in self._text) else "")
        elif tag in _BLOCKS:
            self._close()
        return True

    def _enter(self, level: int, title: str) -> None:
        while self._path and self._path[-1][0] >= level:
            self._path.pop()
        if title:
            self._path.append((level, title))

    def _close(self) -> None:
        self._add(_squeezed("".join(self._text)), by_lines=False)
        self._text = []

    def _add(self, text: str, *, by_lines: bool) -> None:
        if text.strip():
            self.blocks.append(Block(text, tuple(title for _, title in self._path), self._line, by_lines))
            self._line += text.count("\n") + 1


def _squeezed(text: str) -> str:
    return _SPACES.sub(" ", text).strip()
