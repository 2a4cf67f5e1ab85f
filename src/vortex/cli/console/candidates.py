"""What the console shows of learning and decides about it, by the same functions as `vortex learn`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vortex.config.loading import LoadedSettings
from vortex.console.contracts import Json, Seen

if TYPE_CHECKING:
    from vortex.learn.candidates.promotion import Promotion
    from vortex.learn.candidates.promotion import Seen as SeenCandidate
    from vortex.learn.candidates.runs import Runs

Signature = tuple[tuple[str, int, int, int], ...]
BASE = "base"
PREVIEW, PREVIEW_CHARS = 3, 160


class LearningDesk:
    """model_name: of the model whose adapters are promoted and taken back here; asked once, when it is needed."""

    def __init__(self, loaded: LoadedSettings, model_name: Callable[[], str]) -> None:
        self._loaded, self._model_name = loaded, model_name
        self._states: dict[str, tuple[Signature, Mapping[str, Any]]] = {}

    def runs(self) -> Sequence[Json]:
        found = [self._state(run_id) for run_id in reversed(self._runs.ids())]
        return [state for state in found if state is not None]

    def report(self, run_id: str) -> Json:
        from vortex.learn.candidates.manifest import verify
        from vortex.learn.candidates.runs import report_of

        folder = self._whole(run_id)
        manifest = verify(folder)
        return {**self._runs.state(folder.name).to_json(), "folder": str(folder), **report_of(manifest)}

    def approve(self, seen: Seen) -> None:
        self._whole(seen.id)
        self._promotion().approve(seen.id, _seen(seen))

    def reject(self, seen: Seen, reason: str) -> None:
        self._whole(seen.id)
        self._promotion().reject(seen.id, reason, _seen(seen))

    def promote(self, seen: Seen) -> None:
        from vortex.learn.candidates.promotion import Seen as SeenCandidate

        self._whole(seen.id)
        self._promotion().promote(seen.id, SeenCandidate(seen.hash, "approved"))

    def current(self) -> str:
        found = self._runs.answering(self._model)
        return found.run_id or BASE if found else BASE

    def roll_back(self, current: str, to: str | None) -> None:
        from vortex.errors import RequestError

        if self.current() != current:
            raise RequestError(f"{self.current()} answers meanwhile, so nothing was taken back; look at it again")
        self._promotion().rollback(self._model, to)

    def journal(self, limit: int) -> Sequence[Json]:
        lines = [line for line in self._runs.journal.entries() if "time" in line and "event" in line]
        return list(islice(reversed(lines), limit))

    @cached_property
    def _model(self) -> str:
        return self._model_name()

    @property
    def _runs(self) -> Runs:
        from vortex.cli.learning import open_runs

        return open_runs()

    def _promotion(self) -> Promotion:
        from vortex.cli.learning import promotion_for

        return promotion_for(self._loaded)

    def _whole(self, run_id: str) -> Path:
        """The folder of a run by its whole id: a page names no beginnings."""
        from vortex.errors import RequestError

        if run_id not in self._runs.ids():
            raise RequestError(f"there is no run '{run_id}'")
        return self._runs.folder(run_id)

    def _state(self, run_id: str) -> Mapping[str, Any] | None:
        """Looked through again only where a file of the run, or the pointer, changed: the list is asked for every few
        seconds. What is approved is always read anew."""
        from vortex.errors import VortexError

        signature = self._signature(run_id)
        known = self._states.get(run_id)
        if known is None or known[0] != signature:
            try:
                known = (signature, {**self._runs.state(run_id).to_json(), **self._preview(run_id)})
            except VortexError:
                return None  # gone, or not whole yet
            self._states[run_id] = known
        return known[1]

    def _preview(self, run_id: str) -> Mapping[str, Any]:
        from vortex.learn.candidates.manifest import DATA_FILE
        from vortex.records.jsonl import read_jsonl

        rows = read_jsonl(self._runs.quarantine / run_id / DATA_FILE)
        told = [str(row.get("statement", ""))[:PREVIEW_CHARS] for row in rows if row.get("question")]
        return {"lessons": len(told), "told": told[:PREVIEW]}

    def _signature(self, run_id: str) -> Signature:
        root = self._runs.root
        folders = (self._runs.quarantine / run_id, root / "current", self._runs.promoted / run_id)
        files = [path for folder in folders if folder.is_dir() for path in sorted(folder.rglob("*"))]
        found = []
        for path in files:
            with contextlib.suppress(FileNotFoundError):  # gone this moment
                stat = path.lstat()
                found.append((str(path), stat.st_mtime_ns, stat.st_size, stat.st_ino))
        return tuple(found)


def _seen(seen: Seen) -> SeenCandidate:
    from vortex.learn.candidates.promotion import Seen as SeenCandidate

    return SeenCandidate(seen.hash, seen.state)
