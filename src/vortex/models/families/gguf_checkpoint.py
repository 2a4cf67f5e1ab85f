"""A GGUF file of a family: its blueprint out of its keys, and its tensors by the blueprint's names."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import numpy as np

from vortex.errors import ModelFileError, UnsupportedModel
from vortex.models.blueprint.blueprint import Blueprint, check_blueprint
from vortex.models.families.family import Reading
from vortex.models.families.gguf_family import BY_ARCHITECTURE, TOP, Keys, takes_of
from vortex.models.families.stored import StoredTensors, Take
from vortex.models.files.checkpoint import FREQUENCIES, OTHER_SENSES, refuse_left_over
from vortex.models.files.gguf_config import HARMLESS, NEUTRAL
from vortex.models.files.gguf_parts import GgufModel
from vortex.models.files.raw_tensor import RawTensor, check_finite
from vortex.models.files.stored_tensors import StoredTensor
from vortex.records.foreign import ForeignValues, shown


class GgufFamilyCheckpoint:
    """A `blueprint.dense.BlueprintCheckpoint`. Raises ModelFileError, UnsupportedModel."""

    def __init__(self, path: Path) -> None:
        self.file = GgufModel(path)
        values = ForeignValues(self.file.metadata, str(path))
        name = values.text("general.architecture", "None", most=64)
        if "token_embd.weight" not in self.file.tensors:
            raise ModelFileError(f"{path} has no tensor 'token_embd.weight'; it is not a language model")
        if FREQUENCIES in self.file.tensors:
            raise UnsupportedModel(f"{path}: divisors of rotary frequencies are not known of {name}")
        self.known = BY_ARCHITECTURE[name]
        keys = Keys(values.under(f"{name}."), self.file.tensors)
        reading = Reading(ForeignValues(self.known.config(keys, name), str(path)))
        blueprint = self.known.family.draw(reading)
        if blueprint.num_layers > len(self.file.tensors):
            raise ModelFileError(f"{path} says {blueprint.num_layers} layers and has {len(self.file.tensors)} tensors")
        self.blueprint: Blueprint = check_blueprint(self.known.adapt(blueprint), str(path))
        _refuse_unread(keys.values)
        self._shapes = self.blueprint.all_shapes()
        self.stored = StoredTensors.of(path, {each: self._stored(each) for each in self.file.tensors})
        self._check_tensors()

    def _stored(self, name: str) -> StoredTensor:
        entry = self.file.tensors[name]
        rows, columns = math.prod(entry.shape[:-1]), entry.shape[-1]

        def read() -> RawTensor:
            return RawTensor(entry.type, rows, columns, self.file.read(name))

        return StoredTensor("gguf", (rows, columns), np.empty(0, np.uint8), partial(read))

    def _takes(self, name: str) -> list[Take]:
        if not name.startswith("layers."):
            return [Take(each) for each in TOP[name]]
        _, layer, part = name.split(".", 2)
        return takes_of(self.known, self.blueprint, int(layer), part)

    def _check_tensors(self) -> None:
        used = set()
        for name in self._shapes:
            takes = self._takes(name)
            found = next((take for take in takes if take.name in self.stored), None)
            if found is None:
                raise ModelFileError(f"{self.file.path} has no tensor {takes[0].name!r}; it is not a complete model")
            used.add(found.name)
        left = [name for name in self.stored if not name.startswith(OTHER_SENSES) and not self._is_ahead(name)]
        refuse_left_over(left, used, self.blueprint.architecture, self.file.path)

    def _is_ahead(self, name: str) -> bool:
        """Of a head that guesses ahead, behind the last layer."""
        kind, _, rest = name.partition(".")
        layer = rest.partition(".")[0]
        return kind == "blk" and layer.isdigit() and int(layer) >= self.blueprint.num_layers

    def tensor(self, name: str) -> RawTensor:
        take = next((take for take in self._takes(name) if take.name in self.stored), None)
        if take is None:
            raise ModelFileError(f"{self.file.path} has no tensor for {name}; it is not a complete model")
        tensor = self.stored.take(take, self._shapes[name])
        check_finite(tensor, take.name, str(self.file.path))
        return tensor


def _refuse_unread(values: ForeignValues) -> None:
    """Raises UnsupportedModel for a key that nobody looked at and that may mean arithmetic."""
    for key in values.unread():
        part = key.removeprefix(values.prefix)
        if part in HARMLESS or part.startswith("vision."):
            continue
        value = values.raw(part)
        if value not in NEUTRAL.get(part, ()):
            raise UnsupportedModel(f"{values.origin}: the key {key} is {shown(value)}, which is not known here")
