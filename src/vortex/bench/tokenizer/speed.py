"""How long tokenizers take: in turns on the same documents, on input made to hurt, and for a whole training."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from vortex.bench.tokenizer.peers import Contender
from vortex.machine.python_program import python_module

ROUNDS = 5
DOUBLING = {"a": b"a", "space": b" ", "line break": b"\n", "0xff": b"\xff", "ab": b"ab"}


@dataclass(frozen=True, slots=True)
class Rates:
    """Megabytes of original text per second, one thread."""

    encode: float
    decode: float


def rates(contenders: Sequence[Contender], texts: Sequence[bytes]) -> Mapping[str, Rates]:
    """Medians by contender's name; all take turns, so that a busy machine slows all."""
    megabytes = sum(map(len, texts)) / 1e6
    encoded = {contender.name: [contender.encode(text) for text in texts] for contender in contenders}
    encode: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    decode: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    for _ in range(ROUNDS):
        for contender in contenders:
            encode[contender.name].append(_seconds(partial(_each, contender.encode, texts)))
            decode[contender.name].append(_seconds(partial(_each, contender.decode, encoded[contender.name])))
    return {
        name: Rates(megabytes / statistics.median(encode[name]), megabytes / statistics.median(decode[name]))
        for name in encode
    }


def doubling_ratios(contender: Contender, num_bytes: int) -> dict[str, float]:
    """By pattern: the time for twice the bytes over the time for the bytes. 2 is linear, 4 quadratic."""
    ratios = {}
    for name, unit in DOUBLING.items():
        once, twice = unit * (num_bytes // len(unit)), unit * (2 * num_bytes // len(unit))
        pairs = [
            (_seconds(partial(contender.encode, once)), _seconds(partial(contender.encode, twice)))
            for _ in range(ROUNDS)
        ]
        ratios[name] = round(min(long for _, long in pairs) / min(short for short, _ in pairs), 2)
    return ratios


def time_training(documents: Sequence[bytes], vocab_size: int) -> tuple[float, float | None]:
    """(seconds, peak megabytes where the system says) of the command a user runs, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus"
        corpus.mkdir()
        for number, document in enumerate(documents):
            (corpus / f"{number:05}").write_bytes(document)
        command = python_module("vortex", "tokenizer-train", "--corpus", str(corpus))
        command += ["--vocab-size", str(vocab_size), "--out", str(Path(folder) / "made")]
        seconds = _seconds(partial(subprocess.run, command, check=True, capture_output=True))
    if sys.platform != "linux":
        return seconds, None
    import resource

    return seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3


def _each(work: Callable[[Any], object], items: Sequence[object]) -> None:
    for item in items:
        work(item)


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
