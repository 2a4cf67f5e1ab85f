"""A row of training material: a question and the statement that answers it, and where it came from.

Also rows of running text (no question): nothing is learnt from those but how not to change on such text. Facts of
documents are answered by retrieval (docs/knowledge.md).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from vortex.knowledge.memory.folder import folded
from vortex.records.episodes import TrainingEvent

MAX_CHARS = 4000


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """question: empty for running text. source: feedback, lesson, file or web. origin: request id, entry id, or path.

    created: Unix seconds.
    """

    question: str = ""
    statement: str
    source: str
    origin: str
    created: float = field(default_factory=time.time)

    @property
    def is_text(self) -> bool:
        return not self.question

    @property
    def digest(self) -> str:
        return hashlib.blake2b(
            f"{folded(self.question)}\0{folded(self.statement)}".encode(), digest_size=12
        ).hexdigest()

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "digest": self.digest}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Row:
        """Raises KeyError, TypeError, ValueError."""
        return cls(
            question=str(values.get("question", "")),
            statement=str(values["statement"]),
            source=str(values["source"]),
            origin=str(values["origin"]),
            created=float(values["created"]),
        )


def row_of_event(event: TrainingEvent) -> Row | None:
    """The last question of a conversation and the answer a person wants; None where there is no question in it."""
    if not event.messages or event.messages[-1].get("role") != "user":
        return None
    question = event.messages[-1].get("content")
    if not isinstance(question, str) or not question.strip():
        return None
    return Row(
        question=question.strip()[:MAX_CHARS],
        statement=event.response.strip(),
        source=event.source,
        origin=event.request_id,
        created=event.created,
    )
