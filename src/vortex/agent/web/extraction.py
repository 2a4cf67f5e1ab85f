"""Text out of a page, by trafilatura, inside the sandbox: a page is a program for its parser.

Promises: the parser of somebody else's bytes runs with no network, no file of ours and bounded memory and time; what it
prints is cut at `max_chars`. Plain text needs no parser and is passed on.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from vortex.agent.web.fetching import Page
from vortex.errors import MissingCapability, WebRefused
from vortex.machine.installation import add_extra
from vortex.sandbox import Policy, python_paths, run

MARKUP = frozenset({"text/html", "application/xhtml+xml", "application/xml", "text/xml"})
MAX_TEXT_CHARS = 400_000
MAX_LINKS = 200
PROGRAM = """
import json, sys
import trafilatura
from lxml import html as parser
html = sys.stdin.buffer.read().decode("utf-8", errors="replace")
text = trafilatura.extract(html, include_comments=False, include_tables=True) or trafilatura.html2txt(html) or ""
title, links = "", []
try:
    tree = parser.fromstring(html.encode(), parser=parser.HTMLParser(encoding="utf-8", no_network=True))
    title = " ".join(tree.xpath("string(//title)").split())[:300]
    links = [value for value in tree.xpath("//a/@href") if isinstance(value, str)][: int(sys.argv[2])]
except Exception as error:
    print(type(error).__name__, file=sys.stderr)
print(json.dumps({"title": title, "text": text[: int(sys.argv[1])], "links": links}))
"""


@dataclass(frozen=True)
class PageText:
    """`links` as they stand in the page, absolute or not, unchecked."""

    url: str
    title: str
    text: str
    links: tuple[str, ...] = ()


def read_page(page: Page, *, log: Path | None = None) -> PageText:
    """Raises MissingCapability without trafilatura, SandboxRefused without walls, WebRefused where parsing fails."""
    if page.media_type not in MARKUP:
        return PageText(page.url, page.url, page.text[:MAX_TEXT_CHARS])
    if find_spec("trafilatura") is None:
        raise MissingCapability(f"reading web pages needs trafilatura: {add_extra('agent')}")
    with tempfile.TemporaryDirectory(prefix="vortex-page-") as folder:
        policy = Policy(
            folder=Path(folder), folder_writable=False, read=python_paths(), time_s=20, memory_bytes=768 << 20,
            processes=16, output_bytes=6 * MAX_TEXT_CHARS + (1 << 20),
        )  # fmt: skip
        command = [sys.executable, "-c", PROGRAM, str(MAX_TEXT_CHARS), str(MAX_LINKS)]
        done = run(command, policy, stdin=page.text.encode(), log=log)
    if not done.ok or done.truncated:
        raise WebRefused(f"{page.url} could not be read as a page ({done.reason or f'exit code {done.exit_code}'})")
    found = json.loads(done.stdout)
    return PageText(page.url, str(found["title"]), str(found["text"]), tuple(str(link) for link in found["links"]))
