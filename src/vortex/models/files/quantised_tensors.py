"""Tensors of a quantised model by the names that a plain one has: `X.weight` is computed out of its parts when read."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from vortex.errors import ModelFileError
from vortex.models.files.quantised import Quantisation, parts_of, read_matrix, unpack_fp8
from vortex.models.files.raw_tensor import RawTensor
from vortex.models.files.stored_tensors import StoredTensor

FIRST = {"gptq": "qweight", "awq": "qweight", "compressed-tensors": "weight_packed", "fp8": "weight"}
FP8 = "F8_E4M3"


def with_quantised(
    tensors: Mapping[str, StoredTensor], quantisation: Quantisation, origin: str
) -> dict[str, StoredTensor]:
    """All tensors; a quantised matrix under its plain name, its parts no longer by theirs."""
    found, first = dict(tensors), FIRST[quantisation.method]
    for name, tensor in tensors.items():
        if not name.endswith(f".{first}") or (quantisation.method == "fp8" and tensor.dtype != FP8):
            continue
        whole = f"{name.removesuffix(first)}weight"
        parts = {
            part.removeprefix(name.removesuffix(first)): tensors[part]
            for part in (name, *parts_of(whole, quantisation))
            if part in tensors
        }
        for part in parts:
            found.pop(name.removesuffix(first) + part, None)
        found[whole] = StoredTensor(
            "computed", (1,), np.empty(0, np.uint8), _reader(parts, quantisation, f"{origin}: {whole}")
        )
    return found


def _reader(parts: Mapping[str, StoredTensor], quantisation: Quantisation, origin: str) -> Callable[[], RawTensor]:
    def read(part: str) -> np.ndarray | None:
        stored = parts.get(part)
        return None if stored is None else numbers_of(stored, origin)

    def whole() -> RawTensor:
        if quantisation.method == "fp8":
            scale = next(
                (one for name in ("weight_scale_inv", "weight_scale") if (one := read(name)) is not None), None
            )
            codes = read("weight")
            if scale is None or codes is None:
                raise ModelFileError(f"{origin} is in FP8 and has no scales; it is not a complete model")
            return unpack_fp8(codes, scale, quantisation, origin)
        tensor = read_matrix(quantisation, read, origin)
        assert tensor is not None, "its codes are there"
        return tensor

    return whole


def numbers_of(stored: StoredTensor, origin: str) -> np.ndarray:
    """int32 words and FP8's bytes as they are, floats in float32; two dimensions where there are any."""
    if stored.dtype == "I32":
        return stored.data.view(np.int32).reshape(stored.shape)
    if stored.dtype == FP8:
        return stored.data.reshape(stored.shape)
    from vortex.models.files.formats import dense

    return dense(stored.raw(origin)).reshape(stored.shape)
