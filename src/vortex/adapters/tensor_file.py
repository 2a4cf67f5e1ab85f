"""A safetensors file, read whole and distrusted: every offset, shape and type is checked before a byte is used.

The format: eight bytes of header length, a JSON header {name: {dtype, shape, data_offsets}} with an optional
`__metadata__` of strings, then the tensors' bytes without holes. Nothing else is ever loaded; a pickle is refused.
What was read is in memory of its own: a file that changes afterwards changes nothing.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vortex.errors import AdapterError

MAX_HEADER_BYTES = 16 << 20
MAX_DIMENSION = 1 << 31
DTYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
}  # bf16: its bits


@dataclass(frozen=True, slots=True)
class TensorFile:
    """tensors: float32, float16, or uint16 (the bits of a bfloat16), C-contiguous."""

    tensors: Mapping[str, np.ndarray]
    metadata: Mapping[str, str]


def read_tensor_file(path: Path, limit_bytes: int) -> TensorFile:
    """Raises AdapterError for what is damaged, of another type, or larger than the limit."""
    try:
        with path.open("rb") as file:
            data = file.read(limit_bytes + 1)
    except OSError as error:
        raise AdapterError(f"{path} cannot be read ({error.strerror}); add the adapter again") from error
    if len(data) > limit_bytes:
        raise AdapterError(f"{path} is larger than {limit_bytes / 1e6:,.0f} MB; raise adapters.budget_mb to hold it")
    try:
        return _parse(data)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise AdapterError(f"{path} is not a whole safetensors file ({error}); fetch the adapter again") from error


def _parse(data: bytes) -> TensorFile:
    header_bytes = int.from_bytes(data[:8], "little")
    if not 2 <= header_bytes <= min(MAX_HEADER_BYTES, len(data) - 8):
        raise ValueError(f"a header of {header_bytes} bytes in a file of {len(data)}")
    header = json.loads(data[8 : 8 + header_bytes], object_pairs_hook=_without_doubles)
    metadata = header.pop("__metadata__", None) or {}
    if not all(isinstance(text, str) for item in metadata.items() for text in item):
        raise ValueError("metadata that is no text")
    start, places, tensors = 8 + header_bytes, [], {}
    for name, entry in header.items():
        dtype, shape, (first, end) = DTYPES.get(entry["dtype"]), entry["shape"], entry["data_offsets"]
        if dtype is None:
            raise ValueError(f"tensor {name!r} is of type {entry['dtype']}; known: {', '.join(DTYPES)}")
        if not all(type(size) is int and 0 < size < MAX_DIMENSION for size in shape) or len(shape) > 8:
            raise ValueError(f"tensor {name!r} has the shape {shape}")
        if type(first) is not int or type(end) is not int or end - first != math.prod(shape) * dtype.itemsize:
            raise ValueError(f"tensor {name!r} has {end - first} bytes for the shape {shape}")
        places.append((first, end))
        if not 0 <= first < end <= len(data) - start:
            raise ValueError(f"tensor {name!r} ends at byte {start + end} of {len(data)}")
        tensors[name] = np.frombuffer(data, dtype, math.prod(shape), start + first).reshape(shape).copy()
    places = [(0, 0), *sorted(places), (len(data) - start, 0)]
    if any(left[1] != right[0] for left, right in itertools.pairwise(places)):
        raise ValueError("tensors that overlap, or bytes that belong to none")
    return TensorFile(tensors, metadata)


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name that occurs twice")
    return found


def write_tensor_file(path_file: Any, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """The same format, to an open binary file."""
    names = {dtype: name for name, dtype in DTYPES.items()}
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for name, values in tensors.items():
        first, end = end, end + values.nbytes
        kind = names[values.dtype.newbyteorder("<")]
        header[name] = {"dtype": kind, "shape": list(values.shape), "data_offsets": [first, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path_file.write(len(text).to_bytes(8, "little") + text)
    for values in tensors.values():
        path_file.write(np.ascontiguousarray(values).data)
