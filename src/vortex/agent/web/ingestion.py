"""Pages of allowed domains as rows for learning: seldom, few, cleaned, and marked so that they never promote anything.

Promises: a page is read at most once in `cooldown_minutes`, over restarts; robots.txt is asked first and obeyed; links
are followed within one domain to `max_depth` and no further than `pages_per_domain`; each row says where and when it is
from and carries `origin: web`, by which the gates of learning keep it from an automatic promotion.
"""

from __future__ import annotations

import hashlib
import json
import time
import urllib.robotparser
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urljoin

from vortex.agent.web.extraction import read_page
from vortex.agent.web.fetching import AGENT
from vortex.agent.web.rules import Target, read_url
from vortex.agent.web.web import Web
from vortex.errors import WebRefused
from vortex.records.atomic import atomic_write

NOT_THERE = ("answered 404", "answered 410", "answered 403", "answered 401")


@dataclass(frozen=True)
class WebRow:
    """One page as a row. `origin` is always "web"."""

    url: str
    title: str
    text: str
    fetched: str
    sha256: str
    removed: tuple[str, ...]
    origin: str = "web"


@dataclass
class Ingestion:
    """`state` remembers when each page was last read."""

    web: Web
    state: Path
    cooldown_minutes: float = 60.0
    max_depth: int = 0
    pages_per_domain: int = 20
    refused: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._robots: dict[str, urllib.robotparser.RobotFileParser] = {}

    def rows(self, urls: Sequence[str]) -> Iterator[WebRow]:
        """Rows of the pages that may be read now; every page that was not is in `refused` with the reason."""
        waiting = [(url, 0) for url in urls]
        seen: set[str] = set()
        per_domain: dict[str, int] = {}
        while waiting:
            url, depth = waiting.pop(0)
            try:
                target = read_url(url.split("#", 1)[0])
                if target.url in seen:
                    continue
                seen.add(target.url)
                if per_domain.get(target.host, 0) >= self.pages_per_domain:
                    raise WebRefused(f"{self.pages_per_domain} pages of {target.host} in one go are enough")
                row, links = self._row(target)
                per_domain[target.host] = per_domain.get(target.host, 0) + 1
            except WebRefused as error:
                self.refused.append((url, str(error)))
                continue
            yield row
            if depth < self.max_depth:
                waiting += [(link, depth + 1) for link in _same_host(target, links)]

    def _row(self, target: Target) -> tuple[WebRow, tuple[str, ...]]:
        self.web.check(target)
        self._check_cooldown(target.url)
        self._check_robots(target)
        self._remember(target.url)
        read = read_page(self.web.page(target.url), log=self.web.log)
        clean = self.web.clean(read)
        if clean.refused:
            raise WebRefused(f"{target.url} was not taken: {clean.refused}")
        if not clean.text:
            raise WebRefused(f"{target.url} holds no text")
        digest = hashlib.sha256(clean.text.encode()).hexdigest()
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return WebRow(read.url, read.title, clean.text, now, digest, clean.removed), read.links

    def _check_cooldown(self, url: str) -> None:
        last = self._state().get(url)
        if last is not None and 0 <= time.time() - last < self.cooldown_minutes * 60:
            raise WebRefused(f"{url} was read less than {self.cooldown_minutes:g} minutes ago")

    def _remember(self, url: str) -> None:
        kept = {key: at for key, at in self._state().items() if time.time() - at < max(self.cooldown_minutes * 60, 60)}
        with atomic_write(self.state) as file:
            file.write(json.dumps(kept | {url: time.time()}).encode())

    def _state(self) -> dict[str, float]:
        try:
            kept = json.loads(self.state.read_bytes())
        except (OSError, ValueError):
            return {}
        return {str(url): float(at) for url, at in kept.items()} if isinstance(kept, dict) else {}

    def _check_robots(self, target: Target) -> None:
        """robots.txt of the host; none means yes, one that cannot be read means no."""
        if target.host not in self._robots:
            rules = urllib.robotparser.RobotFileParser()
            try:
                page = self.web.page(f"{target.scheme}://{target.host}/robots.txt")
                rules.parse(page.text[:100_000].splitlines())
            except WebRefused as error:
                if not str(error).endswith(NOT_THERE):
                    raise WebRefused(f"{target.host}/robots.txt cannot be read, so nothing is: {error}") from error
                rules.parse([])
            self._robots[target.host] = rules
        if not self._robots[target.host].can_fetch(AGENT.split("/", maxsplit=1)[0], target.url):
            raise WebRefused(f"{target.url} is not for programs, says {target.host}/robots.txt")


def _same_host(target: Target, links: Sequence[str]) -> Iterator[str]:
    for link in links:
        try:
            following = read_url(urljoin(target.url, link).split("#", 1)[0])
        except (WebRefused, ValueError):
            continue
        if following.host == target.host:
            yield following.url
