"""`vortex bench injections`: what a sanitiser notices of strings that address a model, and what it takes for one.

The sanitiser is handed in: a function from a page's text to what was removed of it. Strings are the shipped ones, or a
file of others (a JSON list of texts, or JSON lines with `text`), each put in the middle of an ordinary page. Ordinary
pages are what every installation has: the descriptions of installed packages and the standard library's own docs.
Noticing a string is not holding it: what may follow from a page is policy's business.
"""

from __future__ import annotations

import importlib
import itertools
import json
import pydoc
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path
from typing import Any, Protocol

from vortex.bench.measurement import CheckFailed
from vortex.bench.report import Report

AROUND = (
    "Tomatoes are sown indoors six weeks before the last frost. Keep the soil moist and turn the trays every day.\n\n",
    "\n\nPlants move outside when nights stay above ten degrees. Water in the morning, never on the leaves.\n",
)
MODULES = (
    "argparse", "asyncio", "collections", "csv", "ctypes", "datetime", "email", "functools", "hashlib", "http.client",
    "inspect", "io", "itertools", "json", "logging", "multiprocessing", "pathlib", "pickle", "random", "re", "shutil",
    "socket", "sqlite3", "ssl", "string", "subprocess", "tarfile", "tempfile", "threading", "typing", "unittest",
    "urllib.request", "uuid", "xml", "zipfile",
)  # fmt: skip
MAX_PAGE_CHARS = 20_000


class Cleaned(Protocol):
    @property
    def text(self) -> str: ...

    @property
    def removed(self) -> Sequence[str]: ...

    @property
    def refused(self) -> str: ...


@dataclass
class InjectionsMeasurement:
    """`clean` must not cut pages short, so that nothing is lost by length."""

    clean: Callable[[str], Cleaned]
    strings: Path | None = None
    every: int = 1
    max_pages: int = 1000

    def check(self) -> None:
        probe = self.clean(AROUND[0] + AROUND[1])
        if probe.removed or probe.refused:
            raise CheckFailed("the sanitiser takes the ordinary page around the strings for an order")

    def measure(self) -> Report:
        rows = read_strings(self.strings)[:: self.every]
        began = time.perf_counter()
        noticed, total, refused = Counter[str](), Counter[str](), 0
        for row in rows:
            cleaned = self.clean(AROUND[0] + str(row["text"]) + AROUND[1])
            family = _family(row)
            total[family] += 1
            noticed[family] += bool(cleaned.removed or cleaned.refused)
            refused += bool(cleaned.refused)
        took = time.perf_counter() - began
        pages = list(itertools.islice(ordinary_pages(), self.max_pages))
        wrong = [self.clean(page) for page in pages]
        pieces = sum(len(one.removed) for one in wrong)
        lines = sum(page.count("\n") + 1 for page in pages)
        wrongly = sum(bool(one.refused) for one in wrong)
        table = [[family, str(total[family]), f"{noticed[family] / total[family]:.0%}"] for family in sorted(total)]
        table.append(["all", str(total.total()), f"{noticed.total() / total.total():.1%}"])
        table.append(["ordinary pages refused", str(len(pages)), f"{wrongly} ({wrongly / len(pages):.1%})"])
        table.append(["pieces taken out of them", f"{lines} lines", str(pieces)])
        return Report(
            "injections",
            "Strings that address a model, put into a page: noticed by the sanitiser",
            ["family", "strings", "noticed"],
            table,
            {
                "strings": total.total(),
                "source": self.strings.name if self.strings else "shipped",
                "noticed": noticed.total(),
                "recall": round(noticed.total() / total.total(), 4),
                "refused_whole": refused,
                "by_family": {family: [noticed[family], total[family]] for family in sorted(total)},
                "ordinary_pages": len(pages),
                "ordinary_pages_refused": wrongly,
                "ordinary_lines": lines,
                "ordinary_pieces_removed": pieces,
                "seconds": round(took, 2),
            },
            bars={family: 100 * noticed[family] / total[family] for family in sorted(total)},
            bars_unit="% noticed",
        )


def read_strings(path: Path | None) -> list[Mapping[str, Any]]:
    """Rows with `text`; from a list of plain texts too."""
    if path is None:
        text = resources.files("vortex.bench.sandbox").joinpath("data/injections.jsonl").read_text(encoding="utf-8")
    else:
        text = path.read_text(encoding="utf-8")
    if text.lstrip().startswith("["):
        return [row if isinstance(row, dict) else {"text": row} for row in json.loads(text)]
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def _family(row: Mapping[str, Any]) -> str:
    disguise = row.get("disguise")
    return f"disguised: {disguise}" if disguise else str(row.get("family", "given"))


def ordinary_pages() -> Iterator[str]:
    for distribution in sorted(metadata.distributions(), key=lambda found: found.metadata["Name"] or ""):
        description = distribution.metadata["Description"] or str(distribution.read_text("METADATA") or "")
        if len(description) > 200:
            yield description[:MAX_PAGE_CHARS]
    for name in MODULES:
        yield pydoc.plain(pydoc.render_doc(importlib.import_module(name)))[:MAX_PAGE_CHARS]
