"""What a project's own documents say of a name: opened before a repair, so that a model knows what was meant.

Their text is data from the repository: it goes into a model's prompt and nowhere else, and nothing in it is obeyed
(policy.py). Best effort: a project without documents is repaired without.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from vortex.agent.working_copy import WorkingCopy

ENDINGS = (".md", ".rst", ".txt")
MAX_DOCUMENTS = 20


class Documents:
    """Read once. names: what was opened."""

    def __init__(self, copy: WorkingCopy) -> None:
        self._paragraphs: list[str] = []
        self.names = [name for name in copy.files if _is_document(name)][:MAX_DOCUMENTS]
        for name in self.names:
            text = copy.read(name) or ""
            self._paragraphs += [part.strip() for part in re.split(r"\n\s*\n", text) if part.strip()]

    def about(self, name: str) -> str:
        """Sentences that name it; nothing where none does."""
        word = re.compile(rf"\b{re.escape(name)}\b")
        found = []
        for paragraph in self._paragraphs:
            if word.search(paragraph):
                sentences = re.split(r"(?<=[.!?])\s+", " ".join(paragraph.split()))
                found += [sentence for sentence in sentences if word.search(sentence)]
        return " ".join(dict.fromkeys(found))


def _is_document(name: str) -> bool:
    path = PurePosixPath(name)
    at_top = len(path.parts) == 1 and path.stem.lower().startswith(("readme", "contributing", "design", "notes"))
    return path.suffix in ENDINGS and (at_top or path.parts[0] in {"docs", "doc"})
