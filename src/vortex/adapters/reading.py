"""An adapter's folder to an `Adapter`: read with `read_adapter_file`, then checked against a model with `fit`.

Promises: what is returned was in memory when its hash was taken; every tensor of the file is used, or the file is
refused by that tensor's name; every layer it changes exists in the model and has that shape; all numbers are finite and
of a size that cannot overflow. An adapter that says which weights it was made on is refused for any others; one that
does not say (made by others) is held by its shapes alone.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

import numpy as np

from vortex.adapters.peft_config import MAX_SCALE, PeftConfig, read_peft_config
from vortex.adapters.tensor_file import read_tensor_file
from vortex.errors import AdapterError
from vortex.types import Adapter, LowRank

WEIGHTS_FILE = "adapter_model.safetensors"
PICKLES = ("adapter_model.bin", "adapter_model.pt")
BASE_KEY = "vortex_base"  # in the metadata of files that we write: the identity of the weights it was made on
DEFAULT_LIMIT_BYTES = 2 << 30
LARGEST_NUMBER = 65504.0  # half precision's: no product of such numbers overflows a float
WRAPPERS = ("base_model", "model", "language_model", "transformer")  # what stands before a layer's own name
_TENSOR = re.compile(r"(?P<module>.+)\.lora_(?P<side>[AB])(?:\.default)?\.weight")


@dataclass(frozen=True, slots=True)
class AdapterFile:
    """What a folder holds, before a model is known. parts: by the layer's name in the file."""

    folder: Path
    config: PeftConfig
    parts: Mapping[str, LowRank]
    base_identity: str | None

    @property
    def num_bytes(self) -> int:
        return sum(part.num_bytes for part in self.parts.values())


@dataclass(frozen=True, slots=True)
class ModelTargets:
    """What an adapter must fit. layers: (rows, columns) by name. identity: gives the weights', as `weights_identity`
    has it, where an adapter asks for certain ones; None where it is not known."""

    name: str
    layers: Mapping[str, tuple[int, int]]
    identity: Callable[[], str] | None = None


def read_adapter(folder: Path, targets: ModelTargets, limit_bytes: int = DEFAULT_LIMIT_BYTES) -> Adapter:
    """Raises AdapterError, in one line that says what is wrong with it."""
    return fit(read_adapter_file(folder, limit_bytes), targets)


def read_adapter_file(folder: Path, limit_bytes: int = DEFAULT_LIMIT_BYTES) -> AdapterFile:
    """Raises AdapterError."""
    config = read_peft_config(folder)
    path = folder / WEIGHTS_FILE
    if not path.exists() and any((folder / name).exists() for name in PICKLES):
        raise AdapterError(f"{folder} holds a pickle, which is never loaded; save the adapter as safetensors")
    file = read_tensor_file(path, limit_bytes)
    sides: dict[str, dict[str, np.ndarray]] = {}
    for name, values in file.tensors.items():
        found = _TENSOR.fullmatch(name)
        if found is None or values.ndim != 2:
            raise AdapterError(f"{path} holds {name}, which is no matrix of a plain LoRA; it cannot be left out")
        _check_numbers(path, name, values)
        if sides.setdefault(found["module"], {}).setdefault(found["side"], values) is not values:
            raise AdapterError(f"{path} holds two matrices {name}")
    if not sides:
        raise AdapterError(f"{path} holds no tensors; train the adapter again")
    parts = {name: _part(path, config, name, pair) for name, pair in sides.items()}
    return AdapterFile(folder, config, parts, file.metadata.get(BASE_KEY))


def fit(file: AdapterFile, targets: ModelTargets) -> Adapter:
    """The adapter for this model. Raises AdapterError where it is another model's."""
    identity = targets.identity() if file.base_identity and targets.identity else None
    if identity is not None and file.base_identity != identity:
        raise AdapterError(
            f"{file.folder} was trained on other weights than {targets.name} has here (another model, or another "
            f"quantisation of it); serve those, or train it anew (it asks for {file.base_identity}, here is {identity})"
        )
    known = {_own_name(name): name for name in targets.layers}
    parts: dict[str, LowRank] = {}
    for module, part in file.parts.items():
        target = known.get(_own_name(module))
        if target is None:
            raise AdapterError(f"{file.folder} changes {_own_name(module)}, which {targets.name} does not let change")
        if part.shape != targets.layers[target]:
            (rows, columns), (own_rows, own_columns) = part.shape, targets.layers[target]
            raise AdapterError(
                f"{file.folder} is for another model: {_own_name(module)} is {rows} x {columns} there and "
                f"{own_rows} x {own_columns} in {targets.name}"
            )
        if target in parts:
            raise AdapterError(f"{file.folder} changes {target} twice")
        parts[target] = part
    return Adapter(adapter_hash(parts), parts)


def adapter_hash(parts: Mapping[str, LowRank]) -> str:
    """`sha256:…` over names, scales, types, shapes and bytes: all that can change an answer, and nothing else."""
    digest = hashlib.sha256()
    for name, part in sorted(((_own_name(name), part) for name, part in parts.items()), key=itemgetter(0)):
        digest.update(name.encode() + b"\0" + struct.pack("<d", part.scale))
        for values in (part.a, part.b):
            digest.update(f"{values.dtype.str}{values.shape}".encode())
            digest.update(np.ascontiguousarray(values).data)
    return f"sha256:{digest.hexdigest()}"


def _part(path: Path, config: PeftConfig, module: str, pair: Mapping[str, np.ndarray]) -> LowRank:
    name = _own_name(module)
    if pair.keys() != {"A", "B"}:
        raise AdapterError(f"{path} holds only one of lora_A and lora_B for {name}")
    a, b = pair["A"], pair["B"]
    bare = module.removeprefix("base_model.model.")  # as peft matches its patterns
    if len(a) != b.shape[1] or len(a) != config.rank_of(bare):
        raise AdapterError(
            f"{path}: {name} has matrices of rank {len(a)} and {b.shape[1]}, the configuration says "
            f"{config.rank_of(bare)}; the two files do not belong together"
        )
    scale = config.scale_of(bare)
    if abs(scale) > MAX_SCALE:
        raise AdapterError(f"{path}: {name} is scaled by {scale:g}, more than {MAX_SCALE:g}")
    if a.dtype != b.dtype:
        a, b = LowRank(a, b, scale).dense()
    return LowRank(a, b, scale)


def _check_numbers(path: Path, name: str, values: np.ndarray) -> None:
    magnitudes = np.abs(LowRank(values, values, 1.0).dense()[0])
    if not float(magnitudes.max()) <= LARGEST_NUMBER:  # not-a-number is not less than anything
        raise AdapterError(f"{path}: {name} holds a number that is not finite or beyond {LARGEST_NUMBER:g}")


def _own_name(module: str) -> str:
    """`layers.3.self_attn.q_proj` of any of the ways to write the path to it."""
    pieces = module.split(".")
    while len(pieces) > 1 and pieces[0] in WRAPPERS:
        pieces = pieces[1:]
    return ".".join(pieces)
