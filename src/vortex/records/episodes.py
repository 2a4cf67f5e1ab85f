"""Episodes (what was asked and answered), feedback on them, and the training events that corrections make.

    data/episodes/chat.jsonl      one Episode per chat, only ever appended
    data/episodes/feedback.jsonl  one Feedback per rating, appended; the last one of a request_id counts
    data/episodes/training.jsonl  one TrainingEvent per request_id with an ideal response, rewritten whole

Readers take these classes, not the lines: unknown fields are ignored, so older programs read newer files.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from vortex.records.atomic import atomic_write
from vortex.records.jsonl import append_jsonl, read_jsonl
from vortex.records.lock import FileLock


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """TypeError where a field that has no default is missing."""
        known = {f.name for f in dataclasses.fields(cls)}
        return cls(**{key: value for key, value in record.items() if key in known})

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode(Record):
    """`messages` as the client sent them; `answer` is the first choice's text. Times: Unix seconds, milliseconds."""

    request_id: str
    model: str
    messages: list[dict[str, Any]]
    answer: str
    created: float
    adapter: str | None = None
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    finish_reason: str | None = None  # None: the client went, or the engine failed (then `error` says how)
    seed: int | None = None
    usage: dict[str, int] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)
    error: str | None = None
    reasoning: str = ""  # what the model thought before it answered
    sources: list[str] = field(default_factory=list)  # files and memories quoted to the model: not the user's words


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback(Record):
    request_id: str
    rating: str  # up | down
    ideal_response: str | None = None
    created: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingEvent(Record):
    """A conversation and the answer a person wants to it."""

    request_id: str
    messages: list[dict[str, Any]]
    response: str
    model: str
    created: float
    source: str = "feedback"


class EpisodeStore:
    """The three files of one folder. Safe for several processes; every method blocks on the disk."""

    def __init__(self, folder: Path) -> None:
        self._chat = folder / "chat.jsonl"
        self._feedback = folder / "feedback.jsonl"
        self._training = folder / "training.jsonl"
        self._lock = folder / "training.lock"

    def add(self, episode: Episode) -> None:
        append_jsonl(self._chat, episode.to_json())

    def episodes(self) -> Iterator[Episode]:
        return (Episode.from_json(record) for record in read_jsonl(self._chat))

    def find(self, request_id: str) -> Episode | None:
        spelled = json.dumps(request_id, ensure_ascii=False).encode("utf-8", "replace")
        records = (record for record in read_jsonl(self._chat, spelled) if record.get("request_id") == request_id)
        return next((Episode.from_json(record) for record in records), None)

    def feedback(self) -> dict[str, Feedback]:
        """The feedback that counts, by request id."""
        given = (Feedback.from_json(record) for record in read_jsonl(self._feedback))
        return {feedback.request_id: feedback for feedback in given}

    def training_events(self) -> list[TrainingEvent]:
        return [TrainingEvent.from_json(record) for record in read_jsonl(self._training)]

    def add_feedback(self, feedback: Feedback, episode: Episode) -> TrainingEvent | None:
        """Replaces earlier feedback on the episode, and the training event it made. Gives the new event, if any."""
        assert feedback.request_id == episode.request_id, "feedback belongs to its episode"
        event = None
        if feedback.ideal_response and feedback.ideal_response.strip():
            event = TrainingEvent(
                request_id=episode.request_id,
                messages=episode.messages,
                response=feedback.ideal_response,
                model=episode.model,
                created=feedback.created,
            )
        with FileLock(self._lock):
            append_jsonl(self._feedback, feedback.to_json())
            before = self.training_events()
            kept = [old for old in before if old.request_id != episode.request_id]
            if event is not None and len(kept) == len(before):
                append_jsonl(self._training, event.to_json())
            elif len(kept) != len(before):
                self._rewrite([*kept, *([event] if event else [])])
        return event

    def _rewrite(self, events: list[TrainingEvent]) -> None:
        with atomic_write(self._training) as file:
            for event in events:
                file.write(json.dumps(event.to_json(), ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
