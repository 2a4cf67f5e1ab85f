"""One thing remembered, and its file: Markdown with a head that says where it came from.

    ---
    id: 20261128-9f3a2c
    kind: fact
    source: chat
    created: 2026-11-28T19:00:00+00:00
    ---
    The staging server is called plum.

A person may change the text below the head at will; what the head lacks is filled in. Does not touch the disk.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

import yaml

from vortex.errors import RequestError

MAX_CHARS = 2000
_HEAD = re.compile(r"\A---\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_HIDDEN = re.compile("[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
_TAGS = re.compile("[\U000e0000-\U000e007f]")


class Kind(StrEnum):
    FACT = "fact"
    LESSON = "lesson"  # the right answer to a question that was answered wrongly


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """`source`: who put it here and how (chat, command, server, tool, feedback). `created`: Unix seconds."""

    id: str
    kind: Kind
    text: str
    source: str
    created: float
    question: str | None = None
    request_id: str | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        """What it is found by."""
        return (self.question, self.text) if self.question else (self.text,)


def clean(text: str) -> str:
    """The text without characters that nobody sees. RequestError where nothing or too much is left."""
    seen = _TAGS.sub("", _HIDDEN.sub("", text)).strip()
    if not seen:
        raise RequestError("there is nothing to remember: write the fact as a sentence")
    if len(seen) > MAX_CHARS:
        raise RequestError(
            f"{len(seen)} characters are too many to remember; at most {MAX_CHARS}, or `vortex knowledge add` a file"
        )
    return seen


def new_id(now: datetime | None = None) -> str:
    return f"{now or datetime.now(UTC):%Y%m%d}-{secrets.token_hex(3)}"


def to_file(entry: Entry) -> str:
    created = datetime.fromtimestamp(entry.created, UTC).isoformat(timespec="seconds")
    head: dict[str, str] = {"id": entry.id, "kind": entry.kind.value, "source": entry.source, "created": created}
    if entry.question:
        head["question"] = entry.question
    if entry.request_id:
        head["request_id"] = entry.request_id
    return f"---\n{yaml.safe_dump(head, allow_unicode=True, sort_keys=False)}---\n{entry.text}\n"


def from_file(text: str, stem: str, modified: float) -> Entry | None:
    """The entry of a file that a person may have changed or written; None where it holds no text."""
    match = _HEAD.match(text)
    body = text[match.end() :] if match else text
    head = _mapping(match.group(1)) if match else {}
    body = _TAGS.sub("", _HIDDEN.sub("", body)).strip()[:MAX_CHARS]
    if not body:
        return None
    question = str(head["question"]).strip() if head.get("question") else None
    return Entry(
        id=str(head.get("id") or stem),
        kind=Kind.LESSON if str(head.get("kind")) == Kind.LESSON and question else Kind.FACT,
        text=body,
        source=str(head.get("source") or "file"),
        created=_seconds(head.get("created"), modified),
        question=question,
        request_id=str(head["request_id"]) if head.get("request_id") else None,
    )


def _mapping(text: str) -> dict[str, object]:
    try:
        head = yaml.safe_load(text)
    except yaml.YAMLError:
        return {}  # a head that a person broke: the text still counts
    return head if isinstance(head, dict) else {}


def _seconds(created: object, otherwise: float) -> float:
    if isinstance(created, datetime):
        return created.timestamp()
    try:
        return datetime.fromisoformat(str(created)).timestamp()
    except ValueError:
        return otherwise
