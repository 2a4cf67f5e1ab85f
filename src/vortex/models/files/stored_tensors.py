"""The tensors of a safetensors file as they are stored, memory-mapped, with their header checked.

Source: the format's own description (an 8-byte length, a JSON header, bytes). A tensor may also be one that is computed
out of others when it is read (quantised_tensors.py).
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gguf.constants import GGMLQuantizationType

from vortex.errors import ModelFileError, UnsupportedModel
from vortex.models.files.raw_tensor import RawTensor
from vortex.records.foreign import ForeignValues, read_json

MAX_HEADER_BYTES = 100 << 20
DTYPES = {"F32": GGMLQuantizationType.F32, "F16": GGMLQuantizationType.F16, "BF16": GGMLQuantizationType.BF16}
NUMPY_TYPES = {"F32": np.float32, "F16": np.uint16, "BF16": np.uint16, "U8": np.uint8, "I32": np.int32,
               "F8_E4M3": np.uint8}  # fmt: skip


@dataclass(frozen=True, slots=True)
class StoredTensor:
    dtype: str
    shape: tuple[int, ...]
    data: np.ndarray  # uint8, flat
    read: Callable[[], RawTensor] | None = None  # where it is computed: data is empty then

    def raw(self, origin: str) -> RawTensor:
        """Rows are all dimensions but the last. Raises UnsupportedModel for numbers of another kind."""
        if self.read is not None:
            return self.read()
        if self.dtype not in DTYPES:
            raise UnsupportedModel(f"{origin}: tensors of type {self.dtype}; known: {', '.join(DTYPES)}")
        rows = math.prod(self.shape[:-1])
        return RawTensor(DTYPES[self.dtype], rows, self.shape[-1], self.data.reshape(rows, -1))


def read_safetensors(path: Path) -> dict[str, StoredTensor]:
    """All tensors of one file, memory-mapped. Raises ModelFileError when it is truncated or foreign."""
    try:
        with path.open("rb") as file:
            buffer = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        header_bytes = int.from_bytes(buffer[:8], "little")
        if not 2 <= header_bytes <= min(MAX_HEADER_BYTES, len(buffer) - 8):
            raise ValueError(f"a header of {header_bytes} bytes in a file of {len(buffer)}")
        header = ForeignValues(read_json(buffer[8 : 8 + header_bytes], f"the header of {path}"), str(path))
        start = 8 + header_bytes
        names = [name for name in header.values_by_key if name != "__metadata__"]
        return {name: _stored(header.nested(name), buffer, start) for name in names}
    except (OSError, ValueError) as error:
        raise ModelFileError(f"{path} is not a whole safetensors file ({error}); download it again") from error


def _stored(entry: ForeignValues, buffer: mmap.mmap, start: int) -> StoredTensor:
    first, last = (*entry.wholes("data_offsets", most=len(buffer)), -1, -1)[:2]
    shape, dtype = tuple(entry.wholes("shape", least=1)), entry.text("dtype", most=64)
    if not shape or len(shape) > 8:
        raise ModelFileError(f"{entry.origin} has {len(shape)} dimensions; a tensor has 1 to 8")
    if not 0 <= first <= last <= len(buffer) - start:
        raise ModelFileError(f"{entry.origin} ends at byte {start + last} of {len(buffer)}; download the file again")
    if dtype in NUMPY_TYPES and math.prod(shape) * np.dtype(NUMPY_TYPES[dtype]).itemsize != last - first:
        raise ModelFileError(f"{entry.origin} has {last - first} bytes for {shape} of {dtype}; download the file again")
    return StoredTensor(dtype, shape, np.frombuffer(buffer, np.uint8, last - first, start + first))
