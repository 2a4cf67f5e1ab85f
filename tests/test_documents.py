"""What a page promises by its form: links lead somewhere, files it names exist, and how a part works fits 120 lines."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
MAX_PAGE_LINES = 120
WRITTEN_OTHERWISE = {"cli", "decisions", "measurements"}  # from the commands; as a log; as tables


def test_links_lead_to_files() -> None:
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in PAGES
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
        if not target.startswith(("http:", "https:")) and not (page.parent / target).exists()
    ]
    assert not broken


def test_source_files_that_a_page_names_exist() -> None:
    folders = ("src", "scripts", "tests", "deploy")
    sources = [str(path.relative_to(ROOT)) for folder in folders for path in (ROOT / folder).rglob("*.*")]
    gone = [
        f"{page.relative_to(ROOT)}: {name}"
        for page in PAGES
        for name in re.findall(r"`((?:\w+/)*\w+\.(?:py|cpp|h))`", page.read_text())
        if not any(source == name or source.endswith(f"/{name}") for source in sources)
    ]
    assert not gone


def test_how_a_part_works_fits_a_page() -> None:
    long = [
        f"{page.relative_to(ROOT)} has {len(page.read_text().splitlines())} lines"
        for page in PAGES
        if page.parent.name not in WRITTEN_OTHERWISE
        and page.name not in {"cli.md", "configuration.md", "evidence_log.md"}
        and len(page.read_text().splitlines()) > MAX_PAGE_LINES
    ]
    assert not long
