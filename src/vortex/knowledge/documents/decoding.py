"""Bytes to text: by mark, else UTF-8, else UTF-16 where every second byte is nought, else Windows' Latin letters.

Promises that bytes which are no text are refused, and that characters nobody sees (controls, zero width, direction,
tags) are gone: they hide instructions from people and not from models.
"""

from __future__ import annotations

import re

from vortex.knowledge.documents.blocks import UnreadableDocument

_MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe\x00\x00", "utf-32"), (b"\x00\x00\xfe\xff", "utf-32"))
_WIDE_MARKS = ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_HIDDEN = re.compile(
    "[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f]"
)
MAX_CONTROL_SHARE = 0.02


def decode(data: bytes) -> str:
    """Raises UnreadableDocument for bytes that are no text."""
    for mark, encoding in (*_MARKS, *_WIDE_MARKS):
        if data.startswith(mark):
            return visible(data[len(mark) if encoding == "utf-8" else 0 :].decode(encoding, "replace"))
    wide = _wide_without_mark(data)
    if wide is not None:
        return visible(data.decode(wide, "replace"))
    if b"\0" in data:
        raise UnreadableDocument("binary, not text")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("cp1252", "replace")
    controls = sum(text.count(chr(code)) for code in (*range(1, 9), *range(14, 27)))
    if controls > MAX_CONTROL_SHARE * len(text):
        raise UnreadableDocument("binary, not text")
    return visible(text)


def visible(text: str) -> str:
    """Without hidden characters; line ends as \\n. Lines keep their numbers."""
    return _HIDDEN.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def _wide_without_mark(data: bytes) -> str | None:
    head = data[:4096]
    if len(head) < 8:
        return None
    even, odd = head[::2].count(0) / len(head[::2]), head[1::2].count(0) / len(head[1::2])
    if odd > 0.7 and even < 0.1:
        return "utf-16-le"
    return "utf-16-be" if even > 0.7 and odd < 0.1 else None
