"""A set to search in, made on the spot from the documentation of installed Python packages.

A symbol's summary line becomes the question and is taken out of the text, so that a question has to find a passage
that says the same at more length and in other words (an inverse cloze task). Names of the symbol itself never stand in
a question. Nothing is imported: the packages' files are read. The set is the same for the same versions.
"""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import random
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vortex.errors import MissingCapability

PACKAGES = ("numpy", "huggingface_hub", "pydantic")
QUESTIONS_A_PACKAGE = 120
MIN_BODY_WORDS = 40
SEED = 17
_MARKUP = re.compile(r"(?::\w+(?::\w+)*:)?`+~?([^`]*)`+|\*\*?([^*]+)\*\*?")
_PASSED_OVER = {"tests", "test", "testing", "_vendor", "v1"}
_Symbol = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True, slots=True)
class Section:
    """One symbol's documentation without its summary. lines: of the written file, from 1, inclusive."""

    package: str
    file: str
    name: str
    summary: str
    signature: str
    lines: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Question:
    """`file`, `lines`: where the answer stands."""

    text: str
    package: str
    file: str
    lines: tuple[int, int]


def write_documents(folder: Path, packages: tuple[str, ...] = PACKAGES) -> list[Section]:
    """A Markdown file a module under `folder/<package>/`. Raises MissingCapability for a package that is not here."""
    sections: list[Section] = []
    for package in packages:
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise MissingCapability(
                f"{package} is not installed; its documentation is what is searched: pip install it"
            )
        root = Path(next(iter(spec.submodule_search_locations)))
        for source in sorted(root.rglob("*.py")):
            relative = source.relative_to(root)
            if not _PASSED_OVER.intersection(relative.parts):
                sections += _write_module(source, package, relative, folder)
    return sections


def versions(packages: tuple[str, ...] = PACKAGES) -> dict[str, str]:
    return {package: importlib.metadata.version(package) for package in packages}


def questions(sections: list[Section], per_package: int = QUESTIONS_A_PACKAGE) -> list[Question]:
    """Drawn evenly, by a fixed seed; no summary twice (two symbols that say the same cannot be told apart)."""
    chosen: list[Question] = []
    said = [section.summary.casefold() for section in sections]
    for package in sorted({section.package for section in sections}):
        able = [
            section
            for section in sections
            if section.package == package and said.count(section.summary.casefold()) == 1 and _is_askable(section)
        ]
        random.Random(SEED).shuffle(able)
        chosen += [Question(asked(one.summary), package, one.file, one.lines) for one in able[:per_package]]
    return chosen


def asked(summary: str) -> str:
    """ "Return the mean." becomes "How do I return the mean?"; what begins with no verb stays as it is."""
    plain = summary.rstrip(". ")
    first = plain.split(" ", 1)[0]
    if first.lower() in {"a", "an", "the", "this", "these", "class", "base"} or first.endswith("s"):
        return plain + "?"
    return f"How do I {first.lower()}{plain[len(first) :]}?"


def _write_module(source: Path, package: str, relative: Path, folder: Path) -> list[Section]:
    try:
        tree = ast.parse(source.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError):
        return []
    name = ".".join([package, *relative.with_suffix("").parts])
    lines = [f"# {name}", ""]
    sections = []
    target = folder / package / f"{name}.md"
    seen: set[str] = set()
    for node in _documented(tree):
        summary, body = _split(ast.get_docstring(node) or "")
        if len(body.split()) < MIN_BODY_WORDS or body in seen:
            continue
        seen.add(body)
        begin = len(lines) + 1
        signature = _signature(node)
        lines += [f"## {node.name}", "", "```python", signature, "```", "", *body.split("\n"), ""]
        sections.append(Section(package, str(target), node.name, summary, signature, (begin, len(lines))))
    if sections:
        text = "\n".join(lines)
        if not target.exists() or target.read_text(encoding="utf-8") != text:  # an untouched file is not read again
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
    return sections


def _documented(tree: ast.Module) -> Iterator[_Symbol]:
    for node in ast.walk(tree):
        if isinstance(node, _Symbol) and not node.name.startswith("_"):
            yield node


def _split(docstring: str) -> tuple[str, str]:
    """(summary in one line without markup, the rest). A signature line that numpy puts first is passed over."""
    paragraphs = re.split(r"\n\s*\n", docstring.strip())
    if paragraphs and re.match(r"^[\w.]+\(.*\)\s*$", paragraphs[0], re.DOTALL):
        paragraphs = paragraphs[1:]
    if not paragraphs:
        return "", ""
    summary = _MARKUP.sub(lambda m: m.group(1) or m.group(2) or "", " ".join(paragraphs[0].split()))
    body = "\n\n".join(paragraphs[1:])
    return summary, textwrap.dedent(re.sub(r"^#{1,6} ", "", body, flags=re.MULTILINE))


def _signature(node: _Symbol) -> str:
    if isinstance(node, ast.ClassDef):
        return f"class {node.name}"
    return f"def {node.name}({ast.unparse(node.args)})"


def _is_askable(section: Section) -> bool:
    words = section.summary.split()
    named = re.search(rf"\b{re.escape(section.name)}\b", section.summary, re.IGNORECASE)
    return 6 <= len(words) <= 30 and named is None
