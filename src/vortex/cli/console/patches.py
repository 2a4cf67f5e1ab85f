"""What the console shows of the program's own patches and decides about them, by the same functions as `self-patch`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from vortex.console.contracts import Json, Seen
from vortex.errors import AgentStopped

if TYPE_CHECKING:
    from vortex.agent.self_patch.queue import PatchQueue, Queued


class PatchDesk:
    """repository: where an approved patch is applied, on a branch of its own."""

    def __init__(self, repository: Path) -> None:
        self._repository = repository

    def queued(self) -> Sequence[Json]:
        found = [one.as_json() for one in self._queue.all()]
        return [{"goal": "", "verdict": "", "paths": [], **one} for one in found]

    def patch(self, patch_id: str) -> Json:
        from vortex.agent.self_patch.objections import objections

        one = self._queue.get(patch_id)
        return {**one.as_json(), "objections": objections(one.diff, one.id)}

    def approve(self, seen: Seen) -> None:
        from vortex.agent.self_patch.apply import apply_queued

        with self._deciding(seen) as one:
            apply_queued(self._repository, self._queue, one)

    def reject(self, seen: Seen, reason: str) -> None:
        with self._deciding(seen) as one:
            self._queue.mark(one, "rejected", reason=reason)

    @property
    def _queue(self) -> PatchQueue:
        from vortex.agent.self_patch.queue import PatchQueue
        from vortex.cli.agent.state import patches_folder

        return PatchQueue(patches_folder())

    @contextmanager
    def _deciding(self, seen: Seen) -> Iterator[Queued]:
        """The patch as it was seen, while nobody else decides about one. Raises AgentStopped."""
        from vortex.agent.patch import patch_id

        queue = self._queue
        with queue.deciding():
            one = queue.get(seen.id)
            if patch_id(one.diff) != seen.hash or one.id != seen.id:
                raise AgentStopped(f"patch {one.id} is another than the one you saw; look at it again")
            if one.state != seen.state or one.state != "proposed":
                raise AgentStopped(f"patch {one.id} is {one.state} meanwhile, so nothing was decided")
            yield one
