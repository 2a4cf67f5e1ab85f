"""`vortex bench start`: a new process from its start to its first word and its end, and the memory it took.

Runs `vortex chat` as a user does, with the model already here. The clock starts before the interpreter does. Linux and
macOS only: peak memory is what the system accounts for the ended process. Linux counts into it what the process that
starts it held at that moment, so measure from a small one, as the command is.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from vortex.bench.measurement import CheckFailed
from vortex.bench.report import Report
from vortex.machine.python_program import python_module

QUESTION = "What is the capital of France?"
MAXRSS_UNIT_BYTES = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True, slots=True)
class Run:
    first_word_s: float
    total_s: float
    peak_bytes: int
    text: str


@dataclass(frozen=True, slots=True)
class StartMeasurement:
    """options: what is passed on to `vortex chat` (`--model …`)."""

    options: Sequence[str] = ()
    runs: int = 3

    def check(self) -> None:
        """The model must answer at all; this run also fetches and packs it, so that no timed run does."""
        if not self._run().text.strip():
            raise CheckFailed(f"vortex chat {' '.join(self.options)} answers nothing")

    def measure(self) -> Report:
        runs = [self._run() for _ in range(self.runs)]
        first_word_s = statistics.median(run.first_word_s for run in runs)
        total_s = statistics.median(run.total_s for run in runs)
        peak_bytes = max(run.peak_bytes for run in runs)
        figures = {
            "runs": self.runs,
            "first_word_s": round(first_word_s, 2),
            "total_s": round(total_s, 2),
            "peak_resident_bytes": peak_bytes,
        }
        columns = [f"median of {self.runs}", "first word, s", "whole answer, s", "peak memory, MB"]
        name = " ".join(["vortex chat", *self.options])
        rows = [[name, f"{first_word_s:.2f}", f"{total_s:.2f}", f"{peak_bytes / 1e6:.0f}"]]
        bars = {"first word": first_word_s, "whole answer": total_s}
        return Report("start", "A new process to its first word", columns, rows, figures, bars, "seconds")

    def _run(self) -> Run:
        started = time.perf_counter()
        command = python_module("vortex", "chat", *self.options, QUESTION)
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        assert process.stdout is not None
        text = process.stdout.read(1)
        first_word_s = time.perf_counter() - started
        text += process.stdout.read()
        process.stdout.close()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise CheckFailed(f"vortex chat ended with exit code {process.returncode}")
        total_s = time.perf_counter() - started
        return Run(first_word_s, total_s, usage.ru_maxrss * MAXRSS_UNIT_BYTES, text.decode(errors="replace"))
