"""What the console shows and decides about. Composition hands it in; everything here can be done without the console.

Values are the plain JSON that `vortex learn show --json` and its like print: a page and a program read the same.
Every method blocks on the disk and is called in a thread. Refusals are VortexErrors, whose line the page shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Seen:
    """What a person had before their eyes when they decided: refused where it is another now, or decided meanwhile.

    hash: of a candidate (sha256:…), of a patch (its id), of a call or a memory (of its text).
    """

    id: str
    hash: str
    state: str


class Candidates(Protocol):
    """Runs of a training, and what answers now."""

    def runs(self) -> Sequence[Json]:
        """Newest first; as `vortex learn list --json`, with `lessons`: how many, and `told`: the first of them."""
        ...

    def report(self, run_id: str) -> Json:
        """As `vortex learn show --json`. Raises VortexError where the run is damaged or gone."""
        ...

    def approve(self, seen: Seen) -> None: ...

    def reject(self, seen: Seen, reason: str) -> None: ...

    def promote(self, seen: Seen) -> None: ...

    def current(self) -> str:
        """The run that answers; `base` where the model answers alone."""
        ...

    def roll_back(self, current: str, to: str | None) -> None:
        """current: what answered when the person decided. to: a run promoted before, `base`; None: the one before."""
        ...

    def journal(self, limit: int) -> Sequence[Json]:
        """Newest first: time, event, and what belongs to it."""
        ...


class Patches(Protocol):
    """Changes of the program itself that it proposed."""

    def queued(self) -> Sequence[Json]:
        """As `vortex self-patch list --json`."""
        ...

    def patch(self, patch_id: str) -> Json:
        """As `vortex self-patch show --json`, with `objections`: why it would be refused."""
        ...

    def approve(self, seen: Seen) -> None: ...

    def reject(self, seen: Seen, reason: str) -> None: ...


class Memories(Protocol):
    """Facts and lessons."""

    def entries(self) -> Sequence[Json]:
        """Newest first; as `vortex memory list --json`, with `hash` of the text and `kept`: a person has read it."""
        ...

    def keep(self, seen: Seen) -> None: ...

    def drop(self, seen: Seen) -> None: ...


class Questions(Protocol):
    """Calls of tools that wait for a person."""

    def waiting(self) -> Sequence[Json]:
        """id, hash, tool, effect, arguments, reason, folder, asked and until (Unix seconds)."""
        ...

    def answer(self, seen: Seen, *, allowed: bool) -> None: ...


class Gateway(Protocol):
    """An L-kn gateway that runs beside."""

    def figures(self) -> Json | None:
        """decisions by mode, threshold_offset, budget_factor, concurrency_factor, frozen; None: none runs."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Desks:
    """None: there is none here, and its part of the page says so."""

    candidates: Candidates
    patches: Patches
    memories: Memories
    questions: Questions
    gateway: Gateway | None = None
