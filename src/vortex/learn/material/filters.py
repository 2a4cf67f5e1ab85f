"""Rules that keep what is no fact out of training: instructions, commands, secrets, hidden characters.

First of two filters; the second is the person. Fluent falsehoods pass here: nothing but a person knows them.
"""

from __future__ import annotations

import re
import unicodedata

from vortex.learn.material.rows import MAX_CHARS, Row

_RULES = (
    ("a control token", re.compile(r"<\|[^|>]{1,40}\|>|</?s>|\[/?INST\]|<start_of_turn>")),
    ("an address", re.compile(r"(?:https?|ftp|data|javascript):\S|www\.\S", re.IGNORECASE)),
    (
        "a shell command",
        re.compile(r"(?:^|[\s;&|`(])(?:rm\s+-|curl\s+-?\S|wget\s|sudo\s|chmod\s|powershell\b|eval\(|exec\()"),
    ),
    ("encoded text", re.compile(r"(?:[A-Za-z0-9+/]{60,}={0,2})|(?:[0-9a-fA-F]{48,})")),
    (
        "a secret",
        re.compile(
            r"(?:sk|ghp|AKIA|xox[bp])[-_A-Za-z0-9]{16,}|-----BEGIN|(?:password|api[_ ]key|contraseña)\s*[:=]", re.I
        ),
    ),
    (
        "an instruction to the model",
        re.compile(
            r"\b(?:ignore|disregard|forget)\b.{0,40}\b(?:instructions?|rules?|above|previous)\b"
            r"|\byou (?:must|are now|will always|should always)\b|\bnever (?:mention|reveal|refuse)\b"
            r"|\balways (?:answer|reply|respond|say|recommend)\b|\bfrom now on\b|\bsystem prompt\b"
            r"|\b(?:ignora|olvida)\b.{0,40}\binstrucciones\b|\ba partir de ahora\b",
            re.IGNORECASE | re.DOTALL,
        ),
    ),
)
_HIDDEN = frozenset({"Cc", "Cf", "Co", "Cn", "Cs"})
MAX_REPEATED_WORDS = 0.7
MIN_REPEAT_WORDS = 12


def suspicions(row: Row) -> list[str]:
    """What speaks against learning from it, in a few words each; empty where nothing does."""
    text = f"{row.question}\n{row.statement}"
    found = [what for what, pattern in _RULES if pattern.search(text)]
    if any(unicodedata.category(char) in _HIDDEN and char not in "\n\t\r" for char in text):
        found.append("hidden characters")
    if len(row.statement) > MAX_CHARS:
        found.append(f"more than {MAX_CHARS} characters")
    if not row.statement.strip():
        found.append("an empty answer")
    words = row.statement.casefold().split()
    if len(words) >= MIN_REPEAT_WORDS and 1 - len(set(words)) / len(words) > MAX_REPEATED_WORDS:
        found.append("the same words again and again")
    return found
