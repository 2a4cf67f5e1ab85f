"""What a model's name says: the model, and behind a colon the quantisation that is meant.

`owner/name:Q4_K_M`, `smollm2-135m:Q4_1`, and the form with the hub's short address in front:
`hf.co/owner/name:Q4_K_M`. Tags are spelled in capitals from here on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

HUB_PREFIX = re.compile(r"(?:https?://)?(?:hf\.co|huggingface\.co)/", re.IGNORECASE)
REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_TAG = re.compile(r"[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True, slots=True)
class Reference:
    """base: a catalogue's name, a repository or a path. tag: empty where none was given."""

    base: str
    tag: str = ""

    @property
    def full(self) -> str:
        return f"{self.base}:{self.tag}" if self.tag else self.base


def read_reference(name: str) -> Reference:
    """A colon counts where a tag can stand behind it and no path is meant."""
    name = HUB_PREFIX.sub("", name, count=1) if HUB_PREFIX.match(name) else name
    base, colon, tag = name.rpartition(":")
    if colon and _TAG.fullmatch(tag) and len(base) > 1 and "\\" not in base:
        return Reference(base, tag.upper())
    return Reference(name)


def looks_like_repository(name: str) -> bool:
    return bool(REPOSITORY.fullmatch(name)) and not name.lower().endswith(".gguf")
