"""A core on disk: a folder anyone can read, whole at every moment.

    NAME/
      config.json         {"format": "vortex-core", "version": 1, "tokenizer": NAME, "core": {...}, "notes": {...}}
      model.safetensors   the weights; its own metadata repeats config.json and has an xxh3 of all tensors
      tokenizer/          the tokenizer's files, where the checkpoint brings its own

The weights and what they mean are one file, replaced by a rename: a kill at any moment of a save leaves the old
checkpoint or the new one. No pickle is ever read: a path that ends in .pt means the .safetensors file of that stem.
Knows no torch.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from safetensors import SafetensorError
from safetensors.numpy import load, save

from vortex.errors import ConfigError, ModelFileError, ModelNotFound, StorageError
from vortex.records.atomic import atomic_write, commit_rename
from vortex.records.foreign import ForeignValues, read_json, read_json_object, shown
from vortex.vblocks.config import CoreConfig
from vortex.vblocks.int8 import packed, unpacked
from vortex.vblocks.layout import tensor_shapes

FORMAT, VERSION = "vortex-core", 1
CONFIG, WEIGHTS, TOKENIZER = "config.json", "model.safetensors", "tokenizer"
DTYPES = ("float32", "float16", "int8")
MAX_HEADER = 64 << 20  # bytes; a foreign file's first eight bytes may say anything


@dataclass(frozen=True, slots=True)
class CoreCheckpoint:
    """weights: float32 by the names of vblocks/layout.py. tokenizer: a name, or empty where the folder has its own.

    notes: whatever its maker wrote down (data, licence, steps). path: where it was read from.
    """

    config: CoreConfig
    weights: Mapping[str, np.ndarray]
    tokenizer: str = ""
    notes: Mapping[str, Any] = field(default_factory=dict)
    path: Path | None = None

    @property
    def tokenizer_folder(self) -> Path | None:
        """The tokenizer's files that came with the checkpoint."""
        if self.path is None:
            return None
        folder = (self.path if self.path.is_dir() else self.path.parent) / TOKENIZER
        return folder if folder.is_dir() else None


def check_dtype(dtype: str) -> None:
    """Before a training whose result is to be saved so. Raises ConfigError."""
    if dtype not in DTYPES:
        raise ConfigError(f"a core is saved as {', '.join(DTYPES)}, not {dtype!r}")


def save_core(
    folder: Path, checkpoint: CoreCheckpoint, *, tokenizer_files: Path | None = None, dtype: str = "float32"
) -> None:
    """Write the checkpoint, replacing one that is there. Raises StorageError, ConfigError.

    `dtype`: float32, float16, or int8 (core_int8.py). tokenizer_files: a folder that is copied to tokenizer/.
    """
    check_dtype(dtype)
    weights = dict(sorted(checkpoint.weights.items()))
    tensors = packed(weights) if dtype == "int8" else {name: value.astype(dtype) for name, value in weights.items()}
    tensors = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    head = {
        "format": FORMAT,
        "version": VERSION,
        "tokenizer": checkpoint.tokenizer,
        "core": checkpoint.config.to_json(),
        "notes": dict(checkpoint.notes),
    }
    metadata = {"vortex": json.dumps(head), "xxh3": _digest(tensors)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if tokenizer_files is not None:
            _replace_folder(tokenizer_files, folder / TOKENIZER)
        with atomic_write(folder / WEIGHTS) as file:
            file.write(save(tensors, metadata))
        with atomic_write(folder / CONFIG) as file:
            file.write((json.dumps(head, indent=1) + "\n").encode())
    except OSError as error:
        raise StorageError(f"cannot save the core to {folder}: {error.strerror or error}; free some space") from error


def is_core(path: Path) -> bool:
    """Whether a folder says that it is a core; its weights are not looked at."""
    try:
        return read_json_object(path / CONFIG).raw("format") == FORMAT
    except ModelFileError:
        return False


def read_core(path: Path) -> CoreCheckpoint:
    """A folder, a .safetensors file, or a .pt path beside such a file.

    Raises ModelNotFound; ModelFileError for a file that is damaged, foreign, or does not fit its configuration.
    """
    path = weights_path(path)
    try:
        data = path.read_bytes()
        metadata = _metadata(path, data)
        tensors = load(data)
    except (SafetensorError, ValueError, KeyError, OSError) as error:
        raise _damaged(path, error) from error
    head = _head(path, metadata)
    if _digest(tensors) != metadata.raw("xxh3"):
        raise ModelFileError(f"{path} fails its checksum: a byte has changed; restore it from a copy")
    if max(head.config.num_layers, head.config.mtp_k) > len(tensors):
        raise ModelFileError(
            f"{path} says {head.config.num_layers} layers and {head.config.mtp_k} further heads, and has "
            f"{len(tensors)} tensors; restore it from a copy"
        )
    try:
        weights = unpacked(tensors)
    except (KeyError, IndexError, ValueError, TypeError) as error:  # int8 without its scales, or of other shapes
        raise _damaged(path, error) from error
    _check_shapes(path, head.config, weights)
    return dataclasses.replace(head, weights=weights)


def read_core_head(path: Path) -> CoreCheckpoint:
    """The same without weights, which are neither read nor checked."""
    path = weights_path(path)
    try:
        with path.open("rb") as file:
            size = file.read(8)
            metadata = _metadata(path, size + file.read(min(int.from_bytes(size, "little"), MAX_HEADER)))
    except OSError as error:
        raise _damaged(path, error) from error
    return _head(path, metadata)


def _damaged(path: Path, error: Exception) -> ModelFileError:
    return ModelFileError(f"{path} is damaged or no safetensors file ({error}); restore it from a copy")


def _head(path: Path, metadata: ForeignValues) -> CoreCheckpoint:
    said = metadata.raw("vortex")
    if not isinstance(said, str):
        raise ModelFileError(
            f"{path} holds no V-Blocks core; make one with `vortex train-core`, or name it with --model"
        )
    head = ForeignValues(read_json(said, f"the head of {path}"), f"the head of {path}")
    if head.raw("format") != FORMAT:
        raise ModelFileError(
            f"{path} holds no V-Blocks core (format {shown(head.raw('format'))}); make one with `vortex train-core`, "
            "or name it with --model"
        )
    if head.raw("version") != VERSION:
        raise ModelFileError(
            f"{path} has version {shown(head.raw('version'))}, this program reads {VERSION}; update vortex"
        )
    where = path.parent if path.name == WEIGHTS else path
    config = CoreConfig.from_json(head.nested("core").values_by_key)
    return CoreCheckpoint(config, {}, head.text("tokenizer", "", most=256), head.nested("notes").values_by_key, where)


def weights_path(path: Path) -> Path:
    """The file of a folder, of a .safetensors path, or beside a .pt path. Raises ModelNotFound, ModelFileError."""
    if path.suffix == ".pt":
        beside = path.with_suffix(".safetensors")
        if not beside.exists() and not path.with_suffix("").is_dir():
            raise ModelFileError(
                f"{path}: a .pt file is a pickle, which can run code when it is read, so none is; "
                f"give a core's folder or {beside.name}"
            )
        path = beside if beside.exists() else path.with_suffix("")
    if path.is_dir():
        path = path / WEIGHTS
    if not path.exists():
        raise ModelNotFound(f"there is no core at {path}; make one with `vortex train-core`")
    return path


def _metadata(path: Path, data: bytes) -> ForeignValues:
    """The header's own dictionary: safetensors keeps it as `__metadata__`."""
    size = int.from_bytes(data[:8], "little")
    header = ForeignValues(read_json(data[8 : 8 + size], f"{path} is damaged: its header"), str(path))
    return header.nested("__metadata__")


def _digest(tensors: Mapping[str, np.ndarray]) -> str:
    digest = xxhash.xxh3_64()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensors[name]).tobytes())
    value: str = digest.hexdigest()
    return value


def _check_shapes(path: Path, config: CoreConfig, tensors: Mapping[str, np.ndarray]) -> None:
    expected = tensor_shapes(config)
    if wrong := sorted(set(expected) ^ set(tensors)):
        raise ModelFileError(f"{path} does not fit its own configuration: {wrong[0]} is missing or too much")
    for name, shape in expected.items():
        if tensors[name].shape != shape:
            raise ModelFileError(f"{path}: {name} has shape {tensors[name].shape}, its configuration says {shape}")
        if not np.isfinite(tensors[name]).all():
            raise ModelFileError(f"{path}: {name} holds weights that are no numbers (NaN or infinite); restore a copy")


def _replace_folder(source: Path, target: Path) -> None:
    """A copy of `source` at `target`, complete before it has its name."""
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        shutil.copytree(source, temporary / "new")
        if target.exists():
            target.rename(temporary / "old")
        commit_rename(temporary / "new", target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
