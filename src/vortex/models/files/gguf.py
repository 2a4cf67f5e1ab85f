"""A GGUF file's header, read whole and checked; tensor bytes memory-mapped.

Format: GGUF versions 2 and 3, little-endian (ggml's docs/gguf.md). The `gguf` package reads the same files, but
takes seconds for a vocabulary of 49k tokens since it keeps a view per element (docs/decisions/0002); it stays the
oracle in tests. Does not decode blocks (formats.py) and knows no other files of a split model (gguf_parts.py).
"""

from __future__ import annotations

import math
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

from vortex.errors import ModelFileError, UnsupportedModel
from vortex.records import foreign

MAGIC = b"GGUF"
DEFAULT_ALIGNMENT, LARGEST_ALIGNMENT = 32, 1 << 20
MAX_COUNT = 1 << 28  # of a dimension, of a text: anything above is a corrupt header, not a model
MAX_ENTRIES = 1 << 24  # tokens, tensors, keys
LONGEST_NAME = 512  # of a key or a tensor; ggml's own limit is 64
MAX_NESTING = 4  # arrays of arrays
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """`shape` is in numpy's order (rows first); `offset` counts from the start of the file."""

    name: str
    type: GGMLQuantizationType
    shape: tuple[int, ...]
    offset: int
    num_bytes: int


class _Cursor:
    def __init__(self, buffer: mmap.mmap) -> None:
        self.buffer = buffer
        self.at = 0

    def unpack(self, code: str) -> Any:
        (value,) = struct.unpack_from("<" + code, self.buffer, self.at)
        self.at += struct.calcsize("<" + code)
        return value

    def count(self, most: int = MAX_COUNT) -> int:
        value = int(self.unpack("Q"))
        if value > most:
            raise struct.error(f"a count of {value}")
        return value

    def string(self, most: int = MAX_COUNT) -> str:
        length = self.count(most)
        if self.at + length > len(self.buffer):
            raise struct.error("a string runs past the end")
        text = self.buffer[self.at : self.at + length]
        self.at += length
        return text.decode("utf-8", errors="replace")

    def value(self, kind: int, depth: int = 0) -> Any:
        if kind == _STRING:
            return self.string()
        if kind == _ARRAY:
            if depth == MAX_NESTING:
                raise struct.error(f"arrays nested more than {MAX_NESTING} deep")
            element, length = self.unpack("I"), self.count(MAX_ENTRIES)
            if element in _SCALARS:
                size = struct.calcsize("<" + _SCALARS[element])
                if self.at + length * size > len(self.buffer):
                    raise struct.error("an array runs past the end")
                values = struct.unpack_from(f"<{length}{_SCALARS[element]}", self.buffer, self.at)
                self.at += length * size
                return list(values)
            return [self.value(element, depth + 1) for _ in range(length)]
        if kind not in _SCALARS:
            raise struct.error(f"value type {kind}")
        return self.unpack(_SCALARS[kind])


class GgufFile:
    """`metadata` as plain Python values, `tensors` by name. Raises ModelFileError unless the file is whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise ModelFileError(f"cannot read {path}: {error}") from error
        if self._map[:4] != MAGIC:
            raise ModelFileError(f"{path} is not a GGUF file (it starts with {self._map[:4]!r})")
        cursor = _Cursor(self._map)
        cursor.at = len(MAGIC)
        try:
            self.version = int(cursor.unpack("I"))
            if self.version not in {2, 3}:
                raise ModelFileError(f"{path} is GGUF version {self.version}; versions 2 and 3 are supported")
            num_tensors, num_keys = cursor.count(MAX_ENTRIES), cursor.count(MAX_ENTRIES)
            self.metadata: dict[str, Any] = {}
            for _ in range(num_keys):
                key = cursor.string(LONGEST_NAME)
                if key in self.metadata:
                    raise struct.error(f"the key {key!r} twice")
                self.metadata[key] = cursor.value(cursor.unpack("I"))
            self.tensors = self._read_directory(cursor, num_tensors)
        except (struct.error, ValueError) as error:
            raise ModelFileError(
                f"{path} has a broken or truncated header near byte {cursor.at} ({error}); download it again"
            ) from error
        for tensor in self.tensors.values():
            end = tensor.offset + tensor.num_bytes
            if end > len(self._map):
                raise ModelFileError(
                    f"{path} is truncated: tensor {tensor.name!r} ends at byte {end:,}, the file has "
                    f"{len(self._map):,}; download it again"
                )

    def _read_directory(self, cursor: _Cursor, num_tensors: int) -> dict[str, GgufTensor]:
        rows = []
        for _ in range(num_tensors):
            name, num_dimensions = cursor.string(LONGEST_NAME), int(cursor.unpack("I"))
            if not 1 <= num_dimensions <= 4:
                raise struct.error(f"tensor {name!r} of {num_dimensions} dimensions")
            shape = tuple(cursor.count() for _ in range(num_dimensions))[::-1]
            if not all(shape):
                raise struct.error(f"tensor {name!r} of shape {shape}, without values")
            rows.append((name, shape, self._type(name, int(cursor.unpack("I"))), int(cursor.unpack("Q"))))
        alignment = foreign.ForeignValues(self.metadata, str(self.path)).whole(
            "general.alignment", DEFAULT_ALIGNMENT, least=1, most=LARGEST_ALIGNMENT
        )
        start = -(-cursor.at // alignment) * alignment
        tensors: dict[str, GgufTensor] = {}
        for name, shape, kind, offset in rows:
            block_width, block_bytes = GGML_QUANT_SIZES[kind]
            num_values = math.prod(shape)
            if shape[-1] % block_width:
                raise struct.error(f"tensor {name!r} of shape {shape} in blocks of {block_width}")
            if name in tensors:
                raise struct.error(f"the tensor {name!r} twice")
            tensors[name] = GgufTensor(name, kind, shape, start + offset, num_values // block_width * block_bytes)
        return tensors

    def _type(self, name: str, number: int) -> GGMLQuantizationType:
        try:
            return GGMLQuantizationType(number)
        except ValueError:
            raise UnsupportedModel(
                f"{self.path}: tensor {name} is of GGUF type {number}, which this program does not know; "
                "use a file in another quantisation (Q4_K_M, Q8_0, ...)"
            ) from None

    def read(self, name: str) -> np.ndarray:
        """The tensor's bytes, uint8 [rows, row_bytes], memory-mapped. Rows are all dimensions but the last."""
        tensor = self.tensors[name]
        data = np.frombuffer(self._map, np.uint8, tensor.num_bytes, tensor.offset)
        return data.reshape(math.prod(tensor.shape[:-1]), -1)


def architecture_of(path: Path) -> str:
    """`general.architecture`, by a look at the first key alone where it is that one; empty where a file says none.

    Raises ModelFileError where the header must be read whole and is broken.
    """
    key = b"general.architecture"
    try:
        with path.open("rb") as file:
            start = file.read(256)
    except OSError as error:
        raise ModelFileError(f"cannot read {path}: {error.strerror or error}") from error
    at = 24 + 8 + len(key)  # magic, version, two counts; the key's length and the key; its kind, and a text's length
    if start[:4] == MAGIC and start[32 : 32 + len(key)] == key and start[at : at + 4] == _STRING.to_bytes(4, "little"):
        length = int.from_bytes(start[at + 4 : at + 12], "little")
        if length <= len(start) - at - 12:
            return start[at + 12 : at + 12 + length].decode("utf-8", errors="replace")
    return str(GgufFile(path).metadata.get("general.architecture", ""))
