"""A model's Markdown as HTML that runs nothing and loads nothing.

markdown-it's CommonMark with tables, raw HTML off: every tag in the text is escaped. Images become their words, links
open apart and only to http, https and mailto. The content security policy stands behind it (guard.py).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import OptionsDict
from markupsafe import Markup, escape

MAX_CHARS = 100_000
_LINK = re.compile(r"(?:https?|mailto):", re.IGNORECASE)


def markdown(text: str) -> Markup:
    """Text longer than MAX_CHARS stays plain: nobody reads its headings, and the page stays quick."""
    if len(text) > MAX_CHARS:
        return Markup('<p class="plain">{}</p>').format(text)
    return Markup(_READER.render(text))  # noqa: S704 - html is off, links are checked, images are words


def _image(
    renderer: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: Any
) -> str:  # called by markdown-it so
    return str(escape(tokens[index].content or "image"))


def _link_open(renderer: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: Any) -> str:
    href = str(tokens[index].attrGet("href") or "")
    return f'<a href="{escape(href)}" rel="noopener noreferrer nofollow" target="_blank">'


def _cell(renderer: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: Any) -> str:
    return f"<{tokens[index].tag}>"  # without the alignment, a style of its own, which no page here may have


def _reader() -> MarkdownIt:
    reader = MarkdownIt("commonmark", {"html": False, "linkify": False}).enable(["table", "strikethrough"])
    reader.validateLink = lambda url: bool(_LINK.match(url))  # type: ignore[method-assign]  # markdown-it's own way
    reader.add_render_rule("image", _image)
    reader.add_render_rule("link_open", _link_open)
    reader.add_render_rule("th_open", _cell)
    reader.add_render_rule("td_open", _cell)
    return reader


_READER = _reader()
