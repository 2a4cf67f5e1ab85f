"""What a model is held on, and what the gates compare: ordinary questions, running text and code of this machine.

Training is held on ordinary questions in the base's own words, on technical text and on code; the gates look at other
parts of such texts and at a book that training never sees. Texts: a book that ships with the program, the language
reference and the source code that ship with Python itself, so nothing is fetched.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Callable, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from vortex.errors import StorageError
from vortex.learn.candidates.measuring import Questions
from vortex.learn.candidates.served import TOGETHER, Served
from vortex.learn.dialogues import teacher_prompts
from vortex.protocols import Tokenizer
from vortex.records.atomic import atomic_write

PACK_TOKENS, KEPT_TOKENS = 260, 128  # of the gates, of training: longer ones spend a third of a step on attention
ANSWER_TOKENS = 48
HELD_CODE, GATE_CODE = ("argparse", "textwrap", "csv"), ("json.decoder", "heapq")


def kept_rows(
    served: Served, count: int, texts: Sequence[str], cache: Path | None, say: Callable[[str], None]
) -> list[list[int]]:
    """`count` ordinary questions with the base's own answers, then packs of running text. cache: a folder to keep
    the answers in. texts: of the user, held as well. Raises StorageError."""
    rows = _answered(served, count, cache, say)
    technical, code = _technical(), _code(HELD_CODE)
    for text in (technical[: len(technical) // 2], code, *texts):
        rows += packs(served.tokenizer, text, KEPT_TOKENS, max(1, count // 3))
    return rows


def gate_questions(tokenizer: Tokenizer, windows: int, *, limit: int | None = None) -> Questions:
    """windows: of each of the three texts. limit: most questions of each kind; None: all."""
    folder = resources.files("vortex.learn") / "data"
    own: dict[str, list[str]] = yaml.safe_load((folder / "gates.yaml").read_text(encoding="utf-8"))
    shipped = resources.files("vortex.bench") / "data"
    known: list[dict[str, Any]] = json.loads((shipped / "first_questions.json").read_text(encoding="utf-8"))
    technical = _technical()
    texts = {
        "book": (shipped / "origin_of_species_8.txt").read_text(encoding="utf-8"),
        "technical": technical[len(technical) // 2 :],
        "code": _code(GATE_CODE),
    }
    first = [(one["question"], one["expects"]) for one in known]
    return Questions(
        known=first[:limit],
        holdout=[pair for pair in _holdout(folder) if pair[0] not in dict(first)][:limit],
        neighbours=own["neighbours"][:limit],
        refused=own["refused"][:limit],
        texts={name: packs(tokenizer, text, PACK_TOKENS, windows) for name, text in texts.items()},
    )


def _holdout(folder: Traversable) -> list[tuple[str, str]]:
    """(question, pattern of a right answer)."""
    groups = yaml.safe_load((folder / "holdout.yaml").read_text(encoding="utf-8"))
    return [(group["ask"].format(key), pattern) for group in groups for key, pattern in group["answers"].items()]


def packs(tokenizer: Tokenizer, text: str, tokens: int, count: int) -> list[list[int]]:
    """At most `count` rows of `tokens` ids each, spread over the text. A shorter text is one row."""
    opening = tokenizer.encode("", add_bos=True)
    ids = tokenizer.encode(text)
    body = tokens - len(opening)
    if len(ids) <= body:
        return [[*opening, *ids]] if len(ids) > 1 else []
    starts = np.linspace(0, len(ids) - body, min(count, len(ids) // body)).astype(int)
    return [[*opening, *ids[start : start + body]] for start in starts.tolist()]


def _answered(served: Served, count: int, cache: Path | None, say: Callable[[str], None]) -> list[list[int]]:
    questions = [prompt.question for prompt in teacher_prompts(0, count)][:count]
    file = cache / f"{hashlib.sha256(json.dumps(questions).encode()).hexdigest()[:16]}.json" if cache else None
    if file is not None and (found := _read(file, count)) is not None:
        return found
    rows: list[list[int]] = []
    for start in range(0, len(questions), TOGETHER):
        say(f"the base answers ordinary questions: {start} of {len(questions)}")
        prompts = [served.prompt(question) for question in questions[start : start + TOGETHER]]
        written = served.write(prompts, None, ANSWER_TOKENS)
        rows += [[*prompt, *ids] for prompt, ids in zip(prompts, written, strict=True)]
    if file is not None:
        try:
            with atomic_write(file) as out:
                out.write(json.dumps(rows).encode())
        except OSError as error:
            raise StorageError(f"{file} cannot be written ({error.strerror or error}); free some space") from error
    return rows


def _read(file: Path, count: int) -> list[list[int]] | None:
    """A cache: whatever is wrong with it, it is made anew."""
    try:
        rows = json.loads(file.read_bytes())
        return [[int(token) for token in row] for row in rows] if len(rows) == count else None
    except (OSError, ValueError, TypeError):
        return None


def _technical() -> str:
    """The topics of Python's own language reference."""
    found = _source("pydoc_data.topics")
    return found.replace("\\n", "\n")


def _code(names: Sequence[str]) -> str:
    return "\n\n".join(_source(name) for name in names)


def _source(module: str) -> str:
    """A module's source, unread by the interpreter; empty where an installation has none."""
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return ""
    return Path(spec.origin).read_text(encoding="utf-8")
