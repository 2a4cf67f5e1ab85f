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
    for char in str(text).replace("\r\n", "\n"):
        if not is_unseen(char):
            plain.append(char)
            continue
        pieces += [str(escape("".join(plain))), f'<span class="unseen">U+{ord(char):04X}</span>']
        plain.clear()
    return Markup("".join([*pieces, str(escape("".join(plain)))]))  # noqa: S704 - every piece is escaped above


def is_unseen(char: str) -> bool:
    if " " <= char <= "~" or char in _PLAIN or char in _JOINERS:
        return False
    return unicodedata.category(char) in _UNSEEN
