"""The web as a tool sees it: open a page, search for pages. Off unless a person switched it on.

Promises: nothing is asked for while the web is off or this run is offline (C3RNT2_NO_NET=1); a page from the cache is
checked against the allowed domains like any other; what comes back is sanitised and says where it is from.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, quote_plus, urljoin, urlsplit

from vortex.agent.web.cache import PageCache
from vortex.agent.web.extraction import PageText, read_page
from vortex.agent.web.fetching import Fetcher, Page
from vortex.agent.web.rules import Target, allowed_by, read_url
from vortex.agent.web.sanitising import Sanitized, SanitizeRules, sanitize
from vortex.errors import WebRefused

SEARCH_PAGE = "https://html.duckduckgo.com/html/?q="
MAX_RESULTS = 8


@dataclass(frozen=True)
class OpenedPage:
    """`text` is sanitised. `removed` says what was taken out of it."""

    url: str
    title: str
    text: str
    removed: tuple[str, ...]


@dataclass(frozen=True)
class Web:
    """`fetcher` None: the web is off; `why_off` says who can switch it on."""

    fetcher: Fetcher | None
    cache: PageCache | None = None
    rules: SanitizeRules = field(default_factory=SanitizeRules)
    why_off: str = "the web is off: set tools.web.enabled and tools.web.allow_domains in your own settings file"
    log: Path | None = None
    search_page: str = SEARCH_PAGE

    def check(self, target: Target) -> None:
        """Raises WebRefused where the web is off or the host is not allowed."""
        self._on().check_allowed(target)

    def page(self, url: str) -> Page:
        """The page, from the cache where it is fresh. Raises WebRefused."""
        fetcher = self._on()
        target = read_url(url.split("#", 1)[0])
        fetcher.check_allowed(target)
        if self.cache is not None and (kept := self.cache.get(target.url)):
            fetcher.check_allowed(read_url(kept.url))
            return kept
        page = fetcher.fetch(target.url)
        if self.cache is not None:
            self.cache.put(target.url, page)
        return page

    def open(self, url: str, *, max_chars: int | None = None) -> OpenedPage:
        """A page as sanitised text. Raises WebRefused, also where the page as a whole addresses a model."""
        read = read_page(self.page(url), log=self.log)
        clean = self.clean(read, max_chars)
        if clean.refused:
            raise WebRefused(f"{read.url} was not taken: {clean.refused}")
        title = sanitize(read.title, SanitizeRules(max_chars=200, max_instruction_density=1.0)).text
        return OpenedPage(read.url, title, clean.text, clean.removed)

    def clean(self, read: PageText, max_chars: int | None = None) -> Sanitized:
        rules = self.rules
        if max_chars is not None:
            rules = SanitizeRules(max_chars, rules.max_instruction_density, rules.max_repeat_lines)
        return sanitize(read.text, rules)

    def search(self, query: str) -> list[tuple[str, str]]:
        """(host, address) of pages that may be opened. The search engine's own domain must be allowed. WebRefused."""
        fetcher = self._on()
        engine = read_url(self.search_page).host
        if not allowed_by(engine, fetcher.allow_domains):
            raise WebRefused(f"searching asks {engine}; a person can add it to tools.web.allow_domains")
        page = fetcher.fetch(self.search_page + quote_plus(query[:300]))
        found: dict[str, str] = {}
        for link in read_page(page, log=self.log).links:
            url = _result_of(link, page.url)
            try:
                target = read_url(url)
            except WebRefused:
                continue
            if _same_site(target.host, engine) or not allowed_by(target.host, fetcher.allow_domains):
                continue
            found.setdefault(target.url, target.host)
        return [(host, url) for url, host in list(found.items())[:MAX_RESULTS]]

    def _on(self) -> Fetcher:
        if self.fetcher is None:
            raise WebRefused(self.why_off)
        return self.fetcher


def _same_site(host: str, engine: str) -> bool:
    """The engine's own pages, menus and advertisements are no results."""
    return host == engine or host.endswith("." + engine) or engine.endswith("." + host)


def _result_of(link: str, page: str) -> str:
    """Search results may lead through the engine's own redirect; its parameter is the page."""
    try:
        absolute = urljoin(page, link)
        wanted = parse_qs(urlsplit(absolute).query).get("uddg")
    except ValueError:
        return ""  # no URL; it is refused as one
    return wanted[0] if wanted else absolute
