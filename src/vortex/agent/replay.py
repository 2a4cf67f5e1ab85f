"""A trajectory run again: the same model, the same seed, the recorded results; are the bytes the same?

No tool is called. What the model is told is what was recorded, so a difference is the model's, and the first one is
named.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vortex.agent.loop import Loop, LoopOptions, Stop, Tell
from vortex.agent.trajectory import Trajectory
from vortex.protocols import ChatBackend
from vortex.types import ToolSpec


@dataclass(frozen=True, slots=True)
class Replayed:
    """lines: how many are the same from the beginning on; difference: the first that is not."""

    lines: int
    total: int
    digest: str
    difference: str = ""

    @property
    def is_same(self) -> bool:
        return not self.difference and self.lines == self.total


@dataclass(frozen=True, slots=True)
class _Told:
    ok: bool
    text: str

    def labelled(self) -> str:
        return self.text


class _Recorded:
    """Answers calls with what was recorded, in order."""

    def __init__(self, specs: tuple[ToolSpec, ...], records: list[dict[str, Any]], changing: frozenset[str]) -> None:
        self._specs, self._changing = specs, changing
        self._results = [record for record in records if record["kind"] == "observe"]
        self.step = 0

    def specs(self) -> tuple[ToolSpec, ...]:
        return self._specs

    def call(self, name: str, arguments: str) -> _Told:
        return self.told()

    def told(self) -> _Told:
        if self.step >= len(self._results):
            return _Told(False, "no record")
        record = self._results[self.step]
        return _Told(bool(record["ok"]), str(record["text"]))

    def changes(self, name: str) -> bool:
        return name in self._changing

    def rebuild(self, name: str, arguments: str) -> None:
        return


async def replay(
    backend: ChatBackend,
    recorded: Trajectory,
    options: LoopOptions,
    *,
    specs: tuple[ToolSpec, ...],
    changing: frozenset[str],
    tell: Tell,
) -> Replayed:
    """Run the recorded run again, in memory."""
    records = recorded.records
    first = records[0]
    again = _Counting(_Recorded(specs, records, changing))
    again.add(first)
    verdicts = [record for record in records if record["kind"] == "observe"]

    def verify() -> str:
        place = again.tools.step
        if place < len(verdicts):
            return str(verdicts[place]["text"]).removeprefix("not done: the tests say otherwise\n")
        return "" if any(record["kind"] == "stop" and record["done"] for record in records) else "no record"

    loop = Loop(backend, again.tools, again, options, verify=verify, tell=tell)
    stop = await loop.run(first["task"], first["context"])
    return _compared(recorded, again, stop)


class _Counting(Trajectory):
    """Knows how many results the loop has had, and ends the run where the record ends."""

    def __init__(self, tools: _Recorded) -> None:
        super().__init__()
        self.tools = tools

    def add(self, record: Any) -> None:
        super().add(record)
        if record["kind"] == "observe":
            self.tools.step += 1


def _compared(recorded: Trajectory, again: Trajectory, _stop: Stop) -> Replayed:
    for place, line in enumerate(recorded.lines):
        other = again.lines[place] if place < len(again.lines) else "nothing"
        if other != line:
            return Replayed(place, len(recorded.lines), again.digest(), f"line {place + 1}: {other[:160]}")
    return Replayed(len(recorded.lines), len(recorded.lines), again.digest())
