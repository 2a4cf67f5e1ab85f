"""What a new entry may contradict: entries near in meaning that share most of its words and say something else.

Shown to the person, who decides; nothing is dropped. Does not understand: two facts that agree may be shown too.
"""

from __future__ import annotations

from vortex.knowledge.embedding import Embedder
from vortex.knowledge.memory.entries import Entry
from vortex.knowledge.memory.folder import Memory, folded
from vortex.knowledge.memory.recall import Recall, Recalled
from vortex.knowledge.memory.subject import COMMON_WORDS, words

NEAR = 0.75  # cosine
SHARED_WORDS = 0.5  # of the shorter text's telling words


def contradictions(entry: Entry, memory: Memory, embedder: Embedder) -> list[Recalled]:
    """Nearest first, at most three."""

    def agrees(other: Entry) -> bool:
        if other.id == entry.id or other.kind is not entry.kind:
            return True
        return folded(other.text) == folded(entry.text) or _shared(entry.text, other.text) < SHARED_WORDS

    return Recall(memory, embedder, threshold=NEAR, guard=False).nearest(entry.text, limit=3, but=agrees)


def _shared(one: str, other: str) -> float:
    telling = [frozenset(words(text)) - COMMON_WORDS for text in (one, other)]
    return len(telling[0] & telling[1]) / max(1, min(map(len, telling)))
