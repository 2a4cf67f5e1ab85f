"""Which GGUF files a repository offers, by the tags that their names carry: `Model-Q4_K_M.gguf` is `Q4_K_M`.

A tag is what people put behind a colon (`owner/name:Q4_K_M`). A model in several files
(`Model-Q4_K_M-00001-of-00003.gguf`) is one offer. What is no model of its own (a projector for images, an importance
matrix, a drafting head) is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from vortex.errors import ModelNotFound

PREFERRED = ("Q4_K_M", "Q4_K_S", "Q4_0", "Q4_1", "MXFP4", "Q5_K_M", "Q8_0")  # where a name comes without a tag
_TAG = re.compile(
    r"(?:^|[-._/])((?:UD-)?(?:I?Q[1-8]_[0-9A-Z]+(?:_[A-Z0-9]+)*|TQ[12]_0|MXFP4(?:_MOE)?|BF16|F(?:P)?16|F(?:P)?32))(?=$|[-._/])",
    re.IGNORECASE,
)
_PART = re.compile(r"-(\d{5})-of-(\d{5})$")
_NO_MODEL = re.compile(r"(?:^|[-._/])(?:mmproj|imatrix|mtp|vocab)(?=$|[-._])", re.IGNORECASE)
SUFFIX = ".gguf"


@dataclass(frozen=True, slots=True)
class Offer:
    """tag: as the files spell it, in capitals; empty where their names say none. files: all parts, in order."""

    tag: str
    files: tuple[str, ...]


def offers_of(names: Iterable[str]) -> list[Offer]:
    """All GGUF models among these file names, by tag; several of one tag (rare) by name."""
    parts: dict[str, dict[int, str]] = {}
    counts: dict[str, int] = {}
    for name in names:
        if not name.lower().endswith(SUFFIX) or _NO_MODEL.search(name):
            continue
        stem = name[: -len(SUFFIX)]
        found = _PART.search(stem)
        stem = stem[: found.start()] if found else stem
        parts.setdefault(stem, {})[int(found[1]) if found else 1] = name
        counts[stem] = int(found[2]) if found else 1
    offers = [
        Offer(_tag(stem), tuple(files[number] for number in sorted(files)))
        for stem, files in parts.items()
        if len(files) == counts[stem]
    ]
    return sorted(offers, key=lambda offer: (offer.tag, offer.files))


def _tag(stem: str) -> str:
    found = _TAG.findall(stem)
    return str(found[-1]).upper() if found else ""


def choose(offers: list[Offer], tag: str, what: str) -> Offer:
    """The offer of this tag; of none the usual one. Raises ModelNotFound that lists what exists."""
    tags = [offer.tag for offer in offers]
    if not tag:
        if len(offers) == 1:
            return offers[0]
        tag = next((preferred for preferred in PREFERRED if preferred in tags), "")
    for offer in offers:
        if offer.tag and offer.tag == tag.upper():
            return offer
    exist = ", ".join(dict.fromkeys(filter(None, tags))) or "none with a tag"
    asked = f"has no {tag}" if tag else "comes in several forms: name one"
    raise ModelNotFound(f"{what} {asked}; there are: {exist} (as in {what}:{next(filter(None, tags), 'Q4_K_M')})")


def part_files(path: Path) -> list[Path]:
    """All files of the GGUF model whose first one this is, by name."""
    found = _PART.search(path.name.removesuffix(SUFFIX))
    if not found:
        return [path]
    stem = path.name[: found.start()]
    return [path.with_name(f"{stem}-{number:05}-of-{found[2]}{SUFFIX}") for number in range(1, int(found[2]) + 1)]
