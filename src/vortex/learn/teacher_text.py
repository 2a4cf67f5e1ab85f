"""Dialogues whose answers a teacher writes, kept in a file that is reused.

One JSON object per line: `{"messages": [{"role": …, "content": …}, …]}`; the same file trains a tokenizer and a core.
Answers that look broken (not plain text, no end of a sentence, boilerplate about being an AI) are left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from vortex.learn.dialogues import Dialogue, TeacherPrompt
from vortex.learn.teacher import Teacher
from vortex.records.atomic import atomic_write
from vortex.types import ChatMessage

MAX_ANSWER_CHARACTERS = 480
_SENTENCES = re.compile(r"^.*[.!?](?=\s|$)", re.DOTALL)
_BOILERPLATE = re.compile(r"as an ai|language model|i'm sorry, but|i cannot|```|http|\*\*|assistant", re.IGNORECASE)


def answered(
    teacher: Teacher,
    prompts: Sequence[TeacherPrompt],
    *,
    batch: int,
    seed: int,
    temperature: float = 0.7,
    progress: Callable[[int], None] | None = None,
) -> Iterator[Dialogue]:
    """The prompts with the teacher's answers, those that pass the filter; batches hold answers of like length."""
    ordered = sorted(prompts, key=lambda prompt: prompt.max_tokens)
    for begin in range(0, len(ordered), batch):
        part = ordered[begin : begin + batch]
        rows = [teacher.chat_format.encode(_messages(prompt)) for prompt in part]
        longest = max(prompt.max_tokens for prompt in part)
        for prompt, ids in zip(
            part, teacher.write(rows, longest, seed=seed + begin, temperature=temperature), strict=True
        ):
            answer = cleaned(teacher.tokenizer.decode(ids))
            if answer:
                yield [("user", prompt.question), ("assistant", answer)]
        if progress:
            progress(begin + len(part))


def _messages(prompt: TeacherPrompt) -> list[ChatMessage]:
    return [ChatMessage(role="system", content=prompt.system), ChatMessage(role="user", content=prompt.question)]


def cleaned(answer: str) -> str | None:
    """Whole sentences of the answer in one paragraph, or None where it is not worth learning from."""
    text = " ".join(answer.replace("’", "'").replace("“", '"').replace("”", '"').replace("—", "-").split())
    found = _SENTENCES.match(text)
    if not found or not text.isascii() or _BOILERPLATE.search(text):
        return None
    text = found.group()
    return text if 8 <= len(text) <= MAX_ANSWER_CHARACTERS else None


def write_dialogues(path: Path, dialogues: Sequence[Dialogue]) -> None:
    """Atomically; one line each."""
    with atomic_write(path) as file:
        for dialogue in dialogues:
            messages = [{"role": role, "content": text} for role, text in dialogue]
            file.write((json.dumps({"messages": messages}, ensure_ascii=False) + "\n").encode())
