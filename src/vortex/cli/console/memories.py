"""What the console shows of memory and decides about it, by the same functions as `vortex memory`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from vortex.console.contracts import Json, Seen
from vortex.errors import RequestError

OWN_WORDS = frozenset({"command", "chat"})


class MemoryDesk:
    def __init__(self) -> None:
        self._known: tuple[object, Sequence[Json]] | None = None

    def entries(self) -> Sequence[Json]:
        from vortex.cli.knowing import open_memory
        from vortex.cli.memory import as_fact

        memory = open_memory()
        signature = (memory.signature(), memory.history_size())
        if self._known is None or self._known[0] != signature:
            last = {str(row.get("id")): row for row in memory.history()}
            found = [
                {
                    **as_fact(entry),
                    "hash": text_hash(entry.text),
                    "kept": _is_kept(last.get(entry.id), entry.text),
                }
                for entry in reversed(memory.entries())
            ]
            self._known = (signature, found)
        return self._known[1]

    def keep(self, seen: Seen) -> None:
        from vortex.cli.knowing import open_memory

        self._check(seen)
        open_memory().keep(seen.id, source="console")

    def drop(self, seen: Seen) -> None:
        from vortex.cli.knowing import open_memory

        self._check(seen)
        open_memory().forget(seen.id, source="console")

    def _check(self, seen: Seen) -> None:
        found = next((entry for entry in self.entries() if entry["id"] == seen.id), None)
        if found is None:
            raise RequestError("this is no longer remembered; somebody dropped it meanwhile")
        if found["hash"] != seen.hash:
            raise RequestError("it says something else than what you saw; look at it again")


def text_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _is_kept(row: Json | None, text: str) -> bool:
    """The last thing that happened to it is that a person kept it, or said it at this machine's own terminal."""
    if row is None or str(row.get("text", "")) != text:
        return False
    return row.get("change") == "kept" or row.get("source") in OWN_WORDS
