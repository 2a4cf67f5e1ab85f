"""What of a page may reach a model: text for a reader, without what is hidden or addressed to a model.

Promises: no invisible characters, no control tokens of chat formats, no text longer than `max_chars`, no line more
often than `max_repeat_lines`; sentences that give orders to a model are taken out and listed, and a page that consists
of them beyond `max_instruction_density` is refused whole. Does not promise to find every order: a filter of words
cannot. What was kept is data, and policy (not this filter) decides what may follow from it.
"""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from dataclasses import dataclass

from vortex.agent.web.orders import gives_orders

HIDDEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufffb\U0001d173-\U0001d17a\U000e0000-\U000e0fff\ue000-\uf8ff\U000f0000-\U0010fffd]"
)
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
CHAT_TOKENS = re.compile(
    r"<\|[^|<>]{1,40}\|>|<\uff5c[^<>]{1,40}\uff5c>|\[/?INST\]|<</?SYS>>|</?s>|<(?:start|end)_of_turn>"
    r"|</?(?:tool_call|tool_response|function_call|system|assistant|think|thinking|instructions?)\b[^<>]{0,80}>",
    re.IGNORECASE,
)
MARKUP_COMMENT = re.compile(r"<!--.*?(?:-->|$)|\[//\]:\s*#\s*\([^)]*\)", re.DOTALL)
DATA_URL = re.compile(r"\bdata:[a-z]+/[a-z0-9.+-]+[;,][^\s)\"']{20,}", re.IGNORECASE)
PACKED = re.compile(r"(?<![A-Za-z0-9+/=_-])[A-Za-z0-9+/_-]{24,}={0,2}(?![A-Za-z0-9+/=_-])")
HEX = re.compile(r"(?<![0-9A-Fa-f])(?:[0-9A-Fa-f]{2}[ :]?){16,}(?![0-9A-Fa-f])")
SENTENCE_END = re.compile(r"(?<=[.!?;:])\s+|\n+")
SPACED_LETTERS = re.compile(r"(?<!\w)(?:\w[ .\-_*]){4,}\w(?!\w)")
BLANK_LINES = re.compile(r"\n{3,}")
EXCERPT_CHARS = 120
# How much of a page is looked at: what is cut off anyway need not be read, but orders near it count.
READ_FACTOR, READ_MARGIN_CHARS = 4, 4000
MAX_LINE_CHARS = 20_000


@dataclass(frozen=True)
class SanitizeRules:
    max_chars: int = 2000
    max_instruction_density: float = 0.04
    max_repeat_lines: int = 2


@dataclass(frozen=True)
class Sanitized:
    """`refused` is empty, or the reason why nothing was kept. `removed` lists what was taken out, in short."""

    text: str
    removed: tuple[str, ...]
    instruction_density: float
    refused: str = ""


def sanitize(text: str, rules: SanitizeRules | None = None) -> Sanitized:
    rules = rules or SanitizeRules()
    removed: list[str] = []
    text = _visible(text[: READ_FACTOR * rules.max_chars + READ_MARGIN_CHARS], removed)
    words = orders = 0
    kept_lines: list[str] = []
    seen: dict[str, int] = {}
    for line in text.split("\n"):
        kept, line_words, line_orders = _without_orders(line[:MAX_LINE_CHARS], removed)
        words += line_words
        orders += line_orders
        key = " ".join(kept.lower().split())
        seen[key] = seen.get(key, 0) + 1
        if key and seen[key] > rules.max_repeat_lines:
            continue
        kept_lines.append(kept)
    density = orders / words if words else 0.0
    if density > rules.max_instruction_density:
        reason = f"{density:.0%} of its words give orders to a model (at most {rules.max_instruction_density:.0%})"
        return Sanitized("", tuple(removed), density, reason)
    whole = BLANK_LINES.sub("\n\n", "\n".join(kept_lines)).strip()
    return Sanitized(_cut(whole, rules.max_chars), tuple(removed), density)


def _visible(text: str, removed: list[str]) -> str:
    """Only what a reader would see, in one form of each character."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    tags = "".join(chr(ord(letter) - 0xE0000) for letter in text if 0xE0020 <= ord(letter) <= 0xE007E)
    if tags:
        removed.append(f"hidden text: {tags[:EXCERPT_CHARS]}")
    text = unicodedata.normalize("NFKC", HIDDEN.sub("", text))
    text = HIDDEN.sub("", CONTROL.sub("", text))
    for pattern, what in ((MARKUP_COMMENT, "comment"), (DATA_URL, "data URL"), (CHAT_TOKENS, "chat token")):
        found = pattern.findall(text)
        if found:
            removed.append(f"{what}: {found[0][:EXCERPT_CHARS]}")
            text = pattern.sub(" ", text)
    return text


def _without_orders(line: str, removed: list[str]) -> tuple[str, int, int]:
    """The line without sentences that give orders; its number of words, and how many of them were orders."""
    words = len(line.split())
    if not words:
        return line, 0, 0
    kept: list[str] = []
    orders = 0
    pieces = SENTENCE_END.split(line)
    for index, sentence in enumerate(pieces):
        with_next = f"{sentence} {pieces[index + 1]}" if index + 1 < len(pieces) and len(sentence) < 40 else sentence
        if any(gives_orders(reading) for reading in _readings(sentence)) or (
            with_next is not sentence and gives_orders(with_next) and not gives_orders(pieces[index + 1])
        ):
            removed.append(f"order: {sentence[:EXCERPT_CHARS]}")
            orders += max(1, len(sentence.split()))
        else:
            kept.append(sentence)
    return " ".join(kept), words, orders


def _readings(sentence: str) -> list[str]:
    """The sentence as it stands, with letters that were spaced out put together, and what is packed in it."""
    readings = [sentence]
    joined = SPACED_LETTERS.sub(lambda match: re.sub(r"[ .\-_*]", "", match[0]), sentence)
    if joined != sentence:
        readings.append(joined)
    for match in PACKED.findall(sentence):
        readings += _unpacked(match)
    for match in HEX.findall(sentence):
        with_bytes = re.sub(r"[ :]", "", match)
        readings += _printable(bytes.fromhex(with_bytes[: len(with_bytes) // 2 * 2]))
    return readings


def _unpacked(text: str) -> list[str]:
    try:
        padded = text.rstrip("=").replace("-", "+").replace("_", "/")
        return _printable(base64.b64decode(padded + "=" * (-len(padded) % 4), validate=True))
    except (binascii.Error, ValueError):
        return []


def _printable(data: bytes) -> list[str]:
    text = data.decode("utf-8", errors="ignore")
    return [text] if len(text) > 8 and text.isprintable() else []


def _cut(text: str, max_chars: int) -> str:
    """At most so many characters, at the end of a line or word where there is one near."""
    if len(text) <= max_chars:
        return text
    head = text[:max_chars]
    for mark in ("\n", " "):
        end = head.rfind(mark)
        if end > max_chars * 3 // 4:
            return head[:end].rstrip()
    return head
