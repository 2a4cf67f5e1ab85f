"""What a person reads while a model is packed: how far it is, how long it still takes, and where the copy goes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path


class PackingProgress:
    """Called with (steps done, steps in all); says a line through `say`. Says nothing where nothing is packed."""

    def __init__(self, name: str, folder: Path, say: Callable[[str], None]) -> None:
        self._name, self._folder, self._say = name, folder, say
        self._began_s = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        left_s = (time.monotonic() - self._began_s) * (total - done) / max(done, 1)
        self._say(f"packing {self._name} into {self._folder}: {done / total:.0%}, about {left_s:.0f} s left")
