"""Ways to spoil a file by its structure: values of JSON, fields and tensors of GGUF. Every choice comes from `rng`."""

from __future__ import annotations

import copy
import json
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

EVIL_NUMBERS = [0, -1, 1, 2, 3, 7, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**57 + 153, 2**63 - 1, 2**64, 10**300,
                0.5, -0.0, 1e-300, 1e308, float("nan"), float("inf"), float("-inf")]  # fmt: skip
EVIL_OTHERS = [None, True, False, "", "x", "\x00", "\ud800", "a" * 60_000, [], [1], [[]], {}, {"a": 1}, [None] * 3]
DEPTHS = [5, 500, 100_000]


def spoiled_json(rng: random.Random, document: Any) -> bytes:
    """The document with one to three of its values changed, taken away or repeated; sometimes cut or nested."""
    document = copy.deepcopy(document)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        _spoil_one(rng, document)
    data = json.dumps(document).encode()
    roll = rng.random()
    if roll < 0.03:
        return data[: rng.randrange(len(data))]
    if roll < 0.06:
        depth = rng.choice(DEPTHS)
        return b'{"deep": ' + b"[" * depth + b"]" * depth + b"}"
    if roll < 0.1:
        at = rng.randrange(len(data))
        return data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]
    return data


def evil_value(rng: random.Random, old: Any) -> Any:
    if isinstance(old, int | float) and not isinstance(old, bool) and rng.random() < 0.7:
        return rng.choice([*EVIL_NUMBERS, old + 1, old - 1, old * 2])
    return copy.deepcopy(rng.choice([*EVIL_NUMBERS, *EVIL_OTHERS]))


def _spoil_one(rng: random.Random, document: Any) -> None:
    places = _places(document)
    if not places:
        return
    parent, key = rng.choice(places)
    roll = rng.random()
    if roll < 0.15:
        del parent[key]
    elif roll < 0.2 and isinstance(parent, list):
        parent.append(copy.deepcopy(parent[key]))
    elif roll < 0.25 and isinstance(parent, dict):
        parent[str(key) + rng.choice(["x", "_scale", " "])] = parent[key]
    else:
        parent[key] = evil_value(rng, parent[key])


def _places(document: Any, most: int = 2000) -> list[tuple[Any, Any]]:
    """(container, key) of every value, of the first `most`."""
    found: list[tuple[Any, Any]] = []
    waiting = [document]
    while waiting and len(found) < most:
        here = waiting.pop()
        keys = list(here) if isinstance(here, dict) else range(min(len(here), 20)) if isinstance(here, list) else []
        for key in keys:
            found.append((here, key))
            waiting.append(here[key])
    return found


U32, I32, F32, BOOL, STRING, ARRAY, U64, F64 = 4, 5, 6, 7, 8, 9, 10, 12
CODES = {0: "B", 1: "b", 2: "H", 3: "h", U32: "I", I32: "i", F32: "f", BOOL: "?", U64: "Q", 11: "q", F64: "d"}


@dataclass
class Gguf:
    """fields: (key, type, value); tensors: (name, dimensions, type, offset), dimensions as the file has them."""

    fields: list[tuple[str, int, Any]]
    tensors: list[tuple[str, list[int], int, int]] = field(default_factory=list)
    data: bytes = b""
    alignment: int = 32

    def to_bytes(self) -> bytes:
        out = b"GGUF" + struct.pack("<IQQ", 3, len(self.tensors), len(self.fields))
        for key, kind, value in self.fields:
            out += _string(key) + struct.pack("<I", kind) + _value(kind, value)
        for name, dimensions, kind, offset in self.tensors:
            out += _string(name) + struct.pack("<I", len(dimensions))
            out += b"".join(struct.pack("<Q", size % 2**64) for size in dimensions)
            out += struct.pack("<IQ", kind % 2**32, offset % 2**64)
        return out + bytes(-len(out) % self.alignment) + self.data


def _string(value: str) -> bytes:
    data = value.encode("utf-8", errors="replace")
    return struct.pack("<Q", len(data)) + data


def _value(kind: int, value: Any) -> bytes:
    if kind == STRING:
        return _string(value)
    if isinstance(value, bytes):  # spelled out already
        return value
    if kind == ARRAY:
        element, values = value
        return struct.pack("<IQ", element, len(values)) + b"".join(_value(element, each) for each in values)
    return struct.pack("<" + CODES[kind], value)


def nested_arrays(depth: int) -> bytes:
    """An array's bytes: arrays of one array each, a number inside."""
    return struct.pack("<IQ", ARRAY, 1) * depth + struct.pack("<IQI", U32, 1, 1)


def _evil_field(rng: random.Random, key: str, kind: int, value: Any) -> tuple[str, int, Any]:
    roll = rng.random()
    if roll < 0.35:
        return key, U32, rng.choice([0, 1, 2, 3, 7, 255, 2**16, 2**24, 2**31 - 1, 2**31, 2**32 - 1])
    if roll < 0.45:
        return key, U64, rng.choice([0, 2**31, 2**57 + 153, 2**63, 2**64 - 1])
    if roll < 0.6:
        return key, F32, rng.choice([0.0, -1.0, 1e-30, 1e30, float("nan"), float("inf")])
    if roll < 0.7:
        return key, STRING, rng.choice(["", "x", "yarn", "linear", "longrope", "a" * 60_000])
    if roll < 0.8:
        return key, ARRAY, rng.choice([(U32, [1, 2]), (STRING, ["a"]), (U32, []), (F32, [float("nan")])])
    if roll < 0.84:
        return key, ARRAY, nested_arrays(rng.choice([1, 3, 5, 500]))
    if kind == ARRAY and isinstance(value, tuple) and value[1]:
        element, values = value
        at = rng.randrange(len(values))
        other = rng.choice(["", "a" * 60_000, values[0]]) if element == STRING else rng.choice([0, 1, 3])
        return key, kind, (element, [*values[:at], other, *values[at + rng.choice([0, 1]) :]])
    return key, BOOL, rng.random() < 0.5


def spoiled_gguf(rng: random.Random, base: Gguf, extra_keys: list[str]) -> bytes:
    """One to three changes of fields, tensors or bytes."""
    file = copy.deepcopy(base)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        rng.choice([_spoil_field, _spoil_field, _spoil_tensor, _spoil_data, _add_field])(rng, file, extra_keys)
    data = file.to_bytes()
    roll = rng.random()
    if roll < 0.03:
        return data[: rng.randrange(len(data))]
    if roll < 0.12:
        at = rng.randrange(min(len(data), 6000))
        return data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]
    return data


Spoil = Callable[[random.Random, Gguf, list[str]], None]


def _spoil_field(rng: random.Random, file: Gguf, _: list[str]) -> None:
    at = rng.randrange(len(file.fields))
    roll = rng.random()
    if roll < 0.1:
        del file.fields[at]
    elif roll < 0.15:
        file.fields.append(file.fields[at])
    else:
        file.fields[at] = _evil_field(rng, *file.fields[at])


def _add_field(rng: random.Random, file: Gguf, extra_keys: list[str]) -> None:
    file.fields.append(_evil_field(rng, rng.choice(extra_keys), U32, 0))


def _spoil_tensor(rng: random.Random, file: Gguf, _: list[str]) -> None:
    at = rng.randrange(len(file.tensors))
    name, dimensions, kind, offset = file.tensors[at]
    roll = rng.random()
    if roll < 0.15:
        name = rng.choice(["", "x", name + "x", "rope_freqs.weight", "blk.0.attn_q.bias", "blk.0.attn_rot_embd.weight"])
    elif roll < 0.5:
        sizes = [0, 1, 2, 31, 2**31, 2**57 + 153, 2**63, 2**64 - 1]
        dimensions = rng.choice([[], [1], dimensions[::-1], [*dimensions, 1], [rng.choice(sizes), *dimensions[1:]],
                                 [*dimensions[:-1], rng.choice(sizes)]])  # fmt: skip
    elif roll < 0.75:
        kind = rng.choice([*range(45), 99, 2**31, 2**32 - 1])
    else:
        offset = rng.choice([0, 1, 3, 2**31, 2**63, 2**64 - 1])
    file.tensors[at] = (name, dimensions, kind, offset)
    if rng.random() < 0.1:
        del file.tensors[at]


def _spoil_data(rng: random.Random, file: Gguf, _: list[str]) -> None:
    bad = struct.pack("<f", rng.choice([float("nan"), float("inf"), -float("inf"), 3e38, 1e-40, 1e6]))
    at = rng.randrange(len(file.data) // 4) * 4
    count = rng.choice([1, 1, 64, 4096])
    file.data = (file.data[:at] + bad * count)[: len(file.data)] + file.data[at + 4 * count :]
