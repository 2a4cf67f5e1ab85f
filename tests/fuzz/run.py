"""Fuzz one format, or all: `python -m tests.fuzz.run gguf --seed 7 --minutes 60`; prints one line of JSON per format.

Case number n of a seed is always the same file: `--first n --cases 1` repeats it. Every case has a limit of time and of
memory. A case fails where something else than a VortexError comes out, or one of more than one line, or a limit is
met. Exits with 1 where a case failed. Only for systems with resource limits and alarms (Linux, macOS).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType

from tests.fuzz.targets import TARGETS, Target
from vortex.errors import VortexError

SECONDS_PER_CASE = 20.0  # on a machine that does other things; what is slow takes minutes
MEMORY_BYTES = 1536 << 20  # of address space above what the program itself has
SHOWN = 5


@dataclass
class Figures:
    format: str
    seed: int
    cases: int = 0
    opened: int = 0
    refused: int = 0
    failures: int = 0
    slowest_s: float = 0.0
    most_memory_mb: int = 0
    failed: list[str] = field(default_factory=list)  # of the first ones: number, exception, place


class TooSlow(BaseException):
    pass


def _alarm(_: int, __: FrameType | None) -> None:
    raise TooSlow


def address_space_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def run_case(target: Target, name: str, seed: int, number: int, folder: Path, figures: Figures) -> None:
    folder.mkdir()
    started = time.perf_counter()
    signal.setitimer(signal.ITIMER_REAL, SECONDS_PER_CASE)
    try:
        target(random.Random(f"{name} {seed} {number}"), folder)
        figures.opened += 1
    except VortexError as error:
        figures.refused += 1
        if len(str(error).splitlines()) != 1 or len(str(error)) > 2000:
            _failed(figures, number, f"{type(error).__name__}, too long or of more lines: {str(error)[:150]!r}")
    except BaseException as error:  # a panic and an alarm are none of Exception
        if isinstance(error, KeyboardInterrupt):
            raise
        place = traceback.extract_tb(error.__traceback__)[-1]
        _failed(
            figures, number, f"{type(error).__name__}: {str(error)[:150]} at {Path(place.filename).name}:{place.lineno}"
        )
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        shutil.rmtree(folder, ignore_errors=True)
    figures.cases += 1
    figures.slowest_s = round(max(figures.slowest_s, time.perf_counter() - started), 2)


def _failed(figures: Figures, number: int, what: str) -> None:
    figures.failures += 1
    if len(figures.failed) < SHOWN:
        figures.failed.append(f"case {number}: {what}")


def fuzz(name: str, seed: int, first: int, cases: int, seconds: float) -> Figures:
    """Until `cases` are done or `seconds` are over."""
    figures, stop = Figures(name, seed), time.perf_counter() + seconds
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory(prefix="vortex-fuzz-") as root:
        for number in range(first, first + cases):
            if time.perf_counter() > stop:
                break
            run_case(TARGETS[name], name, seed, number, Path(root) / "case", figures)
    figures.most_memory_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb) // 1024
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("formats", nargs="*", default=list(TARGETS), metavar="FORMAT", help=", ".join(TARGETS))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--cases", type=int, default=10**9, help="of each format, at most")
    parser.add_argument("--minutes", type=float, default=1.0, help="for all formats together, at most")
    parser.add_argument("--unlimited-memory", action="store_true", help="for a core under sanitizers, which map much")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # of numbers that overflow, which is what is tried
    signal.signal(signal.SIGALRM, _alarm)
    if not options.unlimited_memory:
        limit = address_space_bytes() + MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    seconds, failures = 60 * options.minutes / len(options.formats), 0
    for name in options.formats:
        figures = fuzz(name, options.seed, options.first, options.cases, seconds)
        failures += figures.failures
        print(json.dumps(asdict(figures)), flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
