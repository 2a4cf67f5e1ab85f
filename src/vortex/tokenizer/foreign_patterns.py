"""Patterns of a stranger's `tokenizer.json`, tried in a process of their own before any text goes through them.

A pattern can need time that grows with the cube of a text, or for ever ("(a+)+$"), and nothing can interrupt the
library meanwhile. So what is not known from the models' own families is tried on long repetitions of the signs it
names, in a process that is ended after `MAX_CPU_S` of processor time. Known patterns, and those tried before, cost
nothing.
Does not promise that no text is slow: growth with the square passes, so long texts are encoded off the event loop.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from functools import lru_cache
from itertools import product
from typing import Any

from vortex.errors import ModelFileError
from vortex.machine.python_program import python_module
from vortex.tokenizer.panics import panics_told
from vortex.tokenizer.pretokenizers import PRE_TOKENIZERS

MAX_CPU_S = 5
MAX_WALL_S = 120.0  # of a machine with other things to do
PROBE_CHARS = 8192
MAX_SIGNS = 12  # of a pattern, that probes are made of
MAX_PAIRED = 6
USUAL_SIGNS = ("a", "A", "1", " ", "\n", "-", "_", ".", "é", "漢")
_KNOWN = frozenset(pattern for rule in PRE_TOKENIZERS.values() for pattern in rule.patterns)


def check_patterns(document: Any, origin: str) -> None:
    """`document`: a tokenizer.json that the library reads. ModelFileError where a pattern does not end in time."""
    for pattern in sorted(frozenset(patterns_in(document)) - _KNOWN):
        if not ends_in_time(pattern):
            raise ModelFileError(
                f"{origin} has a pattern that does not come to an end in {MAX_CPU_S} s ({pattern[:60]!r}); "
                "take another file of the model"
            )


def patterns_in(value: Any) -> Iterator[str]:
    """Regular expressions at any depth, as the library writes them: {"Regex": …}."""
    waiting = [value]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            if isinstance(pattern := found.get("Regex"), str):
                yield pattern
            waiting += found.values()
        elif isinstance(found, list):
            waiting += found


@lru_cache(maxsize=1024)
def ends_in_time(pattern: str) -> bool:
    """False where the trial had to be ended, or the library panicked."""
    try:
        tried = subprocess.run(
            python_module("vortex.tokenizer.foreign_patterns"),
            input=json.dumps(pattern).encode(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=MAX_WALL_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return tried.returncode == 0


def probes(pattern: str) -> Iterator[str]:
    """Long repetitions of one or two signs, each with an end that fits nothing before it."""
    named = [sign for sign in pattern if sign.isalnum() or not sign.isascii()]
    signs = list(dict.fromkeys([*named, *pattern]))[:MAX_SIGNS]
    paired = dict.fromkeys([*signs[:MAX_PAIRED], "a", " "])
    units = [*signs, *USUAL_SIGNS, *(first + second for first, second in product(paired, repeat=2))]
    end = "\x00!" + "".join(signs)  # a sign that a pattern asks for is there, and does not help
    for unit in dict.fromkeys(units):
        for chars in (64, PROBE_CHARS):  # what needs for ever shows on a short one
            yield unit * (chars // len(unit)) + end


def try_pattern(pattern: str) -> None:
    """Every probe, cut by the pattern. Raises ModelFileError where the library panics; it may take for ever."""
    from tokenizers import Regex
    from tokenizers.pre_tokenizers import Split

    with panics_told("a pattern does not come to an end"):
        cut = Split(Regex(pattern), "isolated")
        for text in probes(pattern):
            cut.pre_tokenize_str(text)


def main() -> int:
    """Reads what to try from stdin. 0: every text came to an end."""
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (MAX_CPU_S, MAX_CPU_S + 1))
    try:
        try_pattern(json.load(sys.stdin))
    except ModelFileError:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
