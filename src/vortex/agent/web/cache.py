"""Pages on disk for a while, so that the same page is not asked for twice.

Promises: private files, whole or not there; a page older than its time is not used; the folder stays below `max_bytes`
by dropping the oldest. Does not decide who may see a page: whoever reads the cache checks the domain first.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from vortex.agent.web.fetching import Page
from vortex.records.atomic import atomic_write

MAX_BYTES = 200_000_000


@dataclass(frozen=True)
class PageCache:
    folder: Path
    hours: float
    max_bytes: int = MAX_BYTES

    def get(self, url: str) -> Page | None:
        path = self._path(url)
        try:
            kept = json.loads(path.read_bytes())
            if kept["asked"] != url or not 0 <= time.time() - float(kept["time"]) < self.hours * 3600:
                return None
            return Page(**(kept["page"] | {"body": base64.b64decode(kept["page"]["body"])}))
        except (OSError, ValueError, KeyError, TypeError):
            return None  # not there, or not ours: it is asked for again

    def put(self, url: str, page: Page) -> None:
        if self.hours <= 0:
            return
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        fields = asdict(page) | {"body": base64.b64encode(page.body).decode()}
        with atomic_write(self._path(url)) as file:
            file.write(json.dumps({"asked": url, "time": time.time(), "page": fields}).encode())
        self._path(url).chmod(0o600)
        self._shrink()

    def _path(self, url: str) -> Path:
        return self.folder / f"{hashlib.sha256(url.encode()).hexdigest()}.json"

    def _shrink(self) -> None:
        files = sorted(self.folder.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
        total = 0
        for path in files:
            total += path.stat().st_size
            if total > self.max_bytes:
                path.unlink(missing_ok=True)
