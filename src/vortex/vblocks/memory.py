"""LAVA's slots on disk: what a core remembers from one session to the next (`vortex_model.lava_state_path`).

One safetensors file, replaced by a rename, with the options it was made under: slots of another core are refused, not
guessed at. The slots alone are kept: a new sequence begins with them and an empty state otherwise.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from vortex.errors import ModelFileError, StorageError
from vortex.records.atomic import atomic_write
from vortex.vblocks.lava_options import LavaOptions
from vortex.vblocks.step.lava_slots import LavaSlots, slots_last

FORMAT = "vortex-lava-1"
ARRAYS = ("keys", "values", "strength", "use", "touched", "cluster", "sums")
SHAPE = ("heads", "key_dim", "value_dim", "slots", "clusters")  # options that a file must share with the core


def save_memory(path: Path, layers: Sequence[LavaSlots]) -> None:
    """Raises StorageError."""
    tensors: dict[str, np.ndarray] = {}
    latest = [float(slots.touched.max()) for slots in layers]
    for index, slots in enumerate(layers):
        arrays = {name: getattr(slots, name) for name in ARRAYS}
        arrays["touched"] = slots.touched - np.float32(latest[index])  # the next session counts its chunks from 0
        arrays["occupied"] = np.array([slots.occupied], np.int64)
        tensors |= {f"{index}.{name}": np.ascontiguousarray(array) for name, array in arrays.items()}
    options = dataclasses.asdict(layers[0].options) if layers else {}
    metadata = {"format": FORMAT, "layers": str(len(layers)), "options": json.dumps(options)}
    try:
        with atomic_write(path) as file:
            file.write(save(tensors, metadata))
    except OSError as error:
        raise StorageError(f"the memory cannot be kept in {path}: {error.strerror or error}") from error


def load_memory(path: Path, options: LavaOptions, num_layers: int) -> list[LavaSlots] | None:
    """Slots of every LAVA layer; None where there is no file yet. Raises ModelFileError for another core's memory."""
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise ModelFileError(f"{path} is no memory of a core; name another vortex_model.lava_state_path")
            made = json.loads(metadata["options"])
            wanted = dataclasses.asdict(options)
            if metadata["layers"] != str(num_layers) or any(made.get(name) != wanted[name] for name in SHAPE):
                raise ModelFileError(f"{path} is the memory of another core; name another vortex_model.lava_state_path")
            return [_slots(file, index, options) for index in range(num_layers)]
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise ModelFileError(f"the memory {path} is damaged ({error}); remove it to start without") from error


def _slots(file: Any, index: int, options: LavaOptions) -> LavaSlots:
    arrays = {name: file.get_tensor(f"{index}.{name}") for name in ARRAYS}
    empty = LavaSlots.empty(options)
    if any(arrays[name].shape != getattr(empty, name).shape for name in ARRAYS):
        raise ValueError("its arrays have other shapes")
    arrays["keys"] = slots_last(arrays["keys"])
    return LavaSlots(options, **arrays, occupied=int(file.get_tensor(f"{index}.occupied")[0]))
