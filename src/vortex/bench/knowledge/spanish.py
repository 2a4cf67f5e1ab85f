"""A small set in Spanish, since no Spanish documentation comes with a package: forty short texts, eighty questions.

They were written for this (bench/data/consultas.txt), in other words than the texts, by the hand that wrote the search,
which the report says. Five texts share each subject, so that a word of the subject alone finds nothing.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from vortex.bench.knowledge.corpus import Question


def write_texts(folder: Path) -> list[Question]:
    """A Markdown file a text under `folder/<subject>/`."""
    data = files("vortex.bench").joinpath("data/consultas.txt").read_text(encoding="utf-8")
    found: list[Question] = []
    for part in data.split("== ")[1:]:
        name, *lines = part.strip().splitlines()
        subject, _, topic = name.partition("/")
        file = folder / subject / f"{topic}.md"
        body = "\n".join(line for line in lines if not line.startswith("? "))
        text = f"# {topic.replace('-', ' ').capitalize()}\n\n{body}\n"
        if not file.exists() or file.read_text(encoding="utf-8") != text:  # an untouched file is not read again
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        asked = [line[2:] for line in lines if line.startswith("? ")]
        found += [Question(one, "es", str(file), (1, len(text.splitlines()))) for one in asked]
    return found
