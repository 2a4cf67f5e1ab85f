"""Seeded, structure-aware mutations: honest values changed in one or two places, as a stranger would.

How many cases a fuzzer tries is `VORTEX_FUZZ_CASES` (few by default, so that the quick tests stay quick), where it
begins is `VORTEX_FUZZ_SEED`. A case that fails names its seed.
"""

from __future__ import annotations

import copy
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SEED = int(os.environ.get("VORTEX_FUZZ_SEED", "1"))
ODD = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, -(2**63) - 1, 10**300, 0.5, -0.0, 1e308, 3.0),
    *("", "x", "\x00", "é漢🎉", "\ud800", "a" * 5000, "<|im_end|>", "null", "^(a+)+$", "(?=x)", "[", "\\", "#", "#/x"),
    *([], {}, [[]], {"": {}}, [None], {"type": "object"}, [[[[[[]]]]]], {"$ref": "#"}),
)


def rounds(few: int) -> range:
    return range(SEED, SEED + int(os.environ.get("VORTEX_FUZZ_CASES", str(few))))


def mutated(value: Any, draw: random.Random) -> Any:
    """A copy with one to three places changed: replaced, removed, doubled, renamed or nested."""
    root = [copy.deepcopy(value)]
    for _ in range(draw.randint(1, 3)):
        if not (places := list(_places(root))):
            break
        holder, key = draw.choice(places)
        _change(holder, key, draw, [copy.deepcopy(h[k]) for h, k in places])
    return root[0] if root else None


def _change(holder: Any, key: Any, draw: random.Random, parts: list[Any]) -> None:
    kind = draw.randrange(6)
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, list):
        holder.extend(copy.deepcopy(holder[key]) for _ in range(draw.choice((1, 3, 40))))
    elif kind == 2 and isinstance(holder, dict):
        holder[str(draw.choice((key, "$ref", "type", "properties", "items", "required", "x")))] = holder.pop(key)
    elif kind == 3:
        for _ in range(draw.choice((1, 5, 30))):
            holder[key] = draw.choice(([holder[key]], {"a": holder[key]}, {"items": holder[key]}))
    elif kind == 4:
        holder[key] = copy.deepcopy(draw.choice(parts))
    else:
        holder[key] = copy.deepcopy(draw.choice(ODD))


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    keys = range(len(value)) if isinstance(value, list) else list(value)
    for key in keys:
        yield value, key
        if isinstance(value[key], dict | list) and value[key]:
            yield from _places(value[key])


@contextmanager
def within(seconds: float, seed: int) -> Iterator[None]:
    """The case's own limit. Far beyond what a case takes on a busy machine: it tells a hang from work."""
    begun_s = time.process_time()  # a machine with other things to do stands still for minutes
    try:
        yield
    except Exception as error:
        raise AssertionError(f"the case of seed {seed}: {type(error).__name__}: {error}") from error
    took = time.process_time() - begun_s
    assert took < seconds, f"the case of seed {seed} took {took:.1f} s"
