"""The tensors of a safetensors folder by their names there, and how a family's tensor is taken out of one.

A published model keeps its text part under several prefixes; here it is always `model.` and `lm_head.`. Bytes stay as
they are where rows are picked; only what must be computed anew becomes float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gguf.constants import GGMLQuantizationType

from vortex.errors import ModelFileError
from vortex.models.files.formats import dense
from vortex.models.files.quantised import Quantisation
from vortex.models.files.quantised_tensors import with_quantised
from vortex.models.files.raw_tensor import RawTensor
from vortex.models.files.stored_tensors import DTYPES, StoredTensor, read_safetensors

PREFIXES = (
    ("model.language_model.", "model."),
    ("language_model.model.", "model."),
    ("language_model.", ""),
    ("backbone.", "model."),
)
Change = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, slots=True)
class Take:
    """`name` as stored; of its first dimension the slice `index` (stacked experts), of the rows those in `rows`; the
    last two dimensions changed about where `turned`; then `change`, over float32 values of that shape, or `joined` over
    them and those of the tensor `beside`."""

    name: str
    rows: slice | tuple[int, ...] | None = None
    index: int | None = None
    turned: bool = False
    change: Change | None = None
    beside: str = ""
    joined: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None


class StoredTensors(Mapping[str, StoredTensor]):
    """All files of a folder as one. Raises ModelFileError."""

    def __init__(self, folder: Path, quantisation: Quantisation | None = None) -> None:
        self.folder = folder
        self._tensors: dict[str, StoredTensor] = {}
        files = sorted(folder.glob("*.safetensors"))
        if not files:
            raise ModelFileError(f"{folder} has no *.safetensors file; only safetensors and GGUF are ever loaded")
        for path in files:
            for name, tensor in read_safetensors(path).items():
                plain = next(
                    (short + name.removeprefix(long) for long, short in PREFIXES if name.startswith(long)), name
                )
                if plain in self._tensors:
                    raise ModelFileError(f"{folder}: the tensor {name!r} is in two files; keep one model per folder")
                self._tensors[plain] = tensor
        if quantisation is not None:
            self._tensors = with_quantised(self._tensors, quantisation, str(folder))

    @classmethod
    def of(cls, origin: Path, tensors: dict[str, StoredTensor]) -> StoredTensors:
        """These tensors, wherever they are from."""
        made = cls.__new__(cls)
        made.folder, made._tensors = origin, tensors
        return made

    def __getitem__(self, name: str) -> StoredTensor:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def take(self, take: Take, shape: tuple[int, int]) -> RawTensor:
        """As [rows, columns] of this shape, where there are as many values. Raises ModelFileError, UnsupportedModel."""
        stored = self._tensors[take.name]
        whole = stored.raw(str(self.folder))
        dims = stored.shape if stored.read is None else (whole.rows, whole.columns)
        kind, data = whole.type, whole.data.reshape(-1)
        if take.index is not None:
            if take.index >= dims[0]:
                raise ModelFileError(f"{self.folder}: {take.name} is of {dims[0]} experts, not of {take.index + 1}")
            data, dims = data.reshape(dims[0], -1)[take.index], dims[1:]
        rows, columns = math.prod(dims[:-1]), dims[-1] if dims else 1
        if take.turned or take.change is not None or take.joined is not None:
            values = dense(RawTensor(kind, rows, columns, data.reshape(rows, -1))).reshape(dims)
            values = values.swapaxes(-1, -2) if take.turned else values
            values = values.reshape(-1, values.shape[-1])[_picked(take.rows)] if take.rows is not None else values
            values = take.change(values) if take.change else values
            if take.joined is not None:
                other = self[take.beside]
                count = math.prod(other.shape)
                flat = dense(RawTensor(DTYPES[other.dtype], 1, count, other.data.reshape(1, -1))).reshape(other.shape)
                values = take.joined(values, flat)
            values = np.ascontiguousarray(values, np.float32)
            return self._shaped(GGMLQuantizationType.F32, values.view(np.uint8).reshape(-1), values.size, shape, take)
        picked = data.reshape(rows, -1)
        if take.rows is not None:
            picked = picked[_picked(take.rows)]
        return self._shaped(kind, picked, len(picked) * columns, shape, take)

    def _shaped(
        self, kind: GGMLQuantizationType, data: np.ndarray, num_values: int, shape: tuple[int, int], take: Take
    ) -> RawTensor:
        if num_values != math.prod(shape):
            raise ModelFileError(
                f"{self.folder}: {take.name} has {num_values:,} values where the model's shape asks for "
                f"{shape[0]} x {shape[1]}; the file is damaged or of another model"
            )
        return RawTensor(kind, *shape, np.ascontiguousarray(data).reshape(shape[0], -1))


def _picked(rows: slice | tuple[int, ...]) -> slice | np.ndarray:
    return rows if isinstance(rows, slice) else np.asarray(rows, np.int64)
