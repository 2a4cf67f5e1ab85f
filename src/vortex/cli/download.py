"""A download as people see it: a moving bar on a terminal, one line per step in a log. Always on stderr.

Shows nothing until something is downloaded, so a model that is here already costs no line.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vortex.cli.terminal import errors, notice

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from vortex.hub.progress import Progress, ProgressSink


@contextmanager
def download_progress() -> Iterator[ProgressSink]:
    """A sink for `resolve(…, progress=sink)`; the bar is gone when the block ends."""
    shown = _TerminalBar() if errors().is_terminal else _LogLines()
    try:
        yield shown.tell
    finally:
        shown.close()


class _LogLines:
    def __init__(self) -> None:
        self._step = ""

    def tell(self, progress: Progress) -> None:
        if progress.step != self._step:
            self._step = progress.step
            size = f" ({progress.total_bytes / 1e6:,.0f} MB)" if progress.total_bytes else ""
            notice(f"{progress.step}{size}")

    def close(self) -> None:
        """Lines stay."""


class _TerminalBar:
    def __init__(self) -> None:
        self._bar: Bar | None = None
        self._task: TaskID | None = None

    def tell(self, progress: Progress) -> None:
        if self._bar is None:
            from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn()
            self._bar = Bar(*columns, console=errors(), transient=True)
            self._task = self._bar.add_task("", total=None)
            self._bar.start()
        assert self._task is not None, "a bar without its task"
        total = progress.total_bytes or None
        self._bar.update(self._task, description=progress.step, completed=progress.done_bytes, total=total)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
