"""Strangers' text as HTML: escaped, each character that would not be seen written out, kept from reordering its
neighbours.

A model, a page or a repository wrote it. Bidirectional overrides can show a reader another text than a machine reads
(CVE-2021-42574), so they stand as their names.
"""

from __future__ import annotations

import unicodedata

from markupsafe import Markup, escape

_UNSEEN = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp"})
_PLAIN = frozenset("\n\t")
_JOINERS = frozenset("\u200c\u200d")  # Persian, Indic scripts and emoji need them


def foreign(text: object) -> Markup:
    """Safe to stand in a page, in an element with `dir="auto"`."""
    pieces: list[str] = []
    plain: list[str] = []
    whole = str(text).replace("\r\n", "\n")
    if _is_plain(whole):
        return escape(whole)
    for char in whole:
        if not is_unseen(char):
            plain.append(char)
            continue
        pieces += [str(escape("".join(plain))), f'<span class="unseen">U+{ord(char):04X}</span>']
        plain.clear()
    return Markup("".join([*pieces, str(escape("".join(plain)))]))  # noqa: S704 - every piece is escaped above


def visible(text: str) -> str:
    """The same as plain text, for where no markup may stand."""
    if _is_plain(text):
        return text
    return "".join(f"U+{ord(char):04X}" if is_unseen(char) else char for char in text)


def _is_plain(text: str) -> bool:
    """Quickly, for the many texts without anything odd."""
    return text.replace("\n", "").replace("\t", "").isprintable()


def is_unseen(char: str) -> bool:
    if " " <= char <= "~" or char in _PLAIN or char in _JOINERS:
        return False
    return unicodedata.category(char) in _UNSEEN
