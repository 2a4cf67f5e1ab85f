"""A safetensors folder of a family: its blueprint, and its tensors by the blueprint's names."""

from __future__ import annotations

from pathlib import Path

from vortex.errors import ModelFileError, UnsupportedModel
from vortex.models.blueprint.blueprint import Blueprint, check_blueprint
from vortex.models.families.family import TOP, Family, Reading, layer_takes
from vortex.models.families.registry import family_of
from vortex.models.families.stored import StoredTensors, Take
from vortex.models.files.checkpoint import refuse_left_over
from vortex.models.files.quantised import read_quantisation
from vortex.models.files.raw_tensor import RawTensor, check_finite
from vortex.records.foreign import ForeignValues, read_json_object

OTHER_SENSES = ("model.visual.", "visual.", "model.vision_tower.", "vision_tower.", "model.embed_vision.",
                "model.audio_tower.", "audio_tower.", "model.embed_audio.", "multi_modal_projector.",
                "model.multi_modal_projector.", "vision_model.")  # fmt: skip


def merged_config(folder: Path) -> ForeignValues:
    """config.json, the text part of a model of several senses laid over it."""
    raw = read_json_object(folder / "config.json")
    inner = {key: value for key, value in raw.nested("text_config").values_by_key.items() if value is not None}
    parts = ("text_config", "vision_config", "audio_config")
    outer = {key: value for key, value in raw.values_by_key.items() if key not in parts}
    return ForeignValues({**outer, **inner}, str(folder))


class FamilyCheckpoint:
    """A `blueprint.dense.BlueprintCheckpoint`. Raises ModelFileError, UnsupportedModel."""

    def __init__(self, folder: Path) -> None:
        values = merged_config(folder)
        self.family: Family = family_of(values.text("model_type", "None", most=64), str(folder))
        reading = Reading(values)
        blueprint = self.family.draw(reading)
        quantisation = read_quantisation(values)
        if quantisation is None and values.nested("quantization_config").values_by_key:
            raise UnsupportedModel(f"{folder}: this quantisation of {self.family.name} is not supported")
        reading.refuse_unread(self.family)
        self.folder = folder
        self.stored = StoredTensors(folder, quantisation)
        if blueprint.num_layers > len(self.stored):
            raise ModelFileError(f"{folder} says {blueprint.num_layers} layers and has {len(self.stored)} tensors")
        self.blueprint: Blueprint = check_blueprint(blueprint, str(folder))
        self._shapes = self.blueprint.all_shapes()
        self._check_tensors()

    def _takes(self, name: str) -> list[Take]:
        if not name.startswith("layers."):
            stored = self.family.top.get(name) or TOP[name]
            return [Take(stored, change=(lambda values: values + 1) if name in self.family.raised else None)]
        _, layer, part = name.split(".", 2)
        return list(layer_takes(self.family, self.blueprint, int(layer), part))

    def _check_tensors(self) -> None:
        """Every tensor is there, and none that nobody reads."""
        used = {TOP["head"]}  # beside a tied one it is a copy of the embedding
        for name in self._shapes:
            takes = self._takes(name)
            found = next((take for take in takes if take.name in self.stored), None)
            if found is None:
                raise ModelFileError(f"{self.folder} has no tensor {takes[0].name!r}; it is not a complete model")
            used |= {found.name, found.beside}
        senses = (name for name in self.stored if not name.startswith(OTHER_SENSES))
        without = (*self.family.left_out, ".rotary_emb.inv_freq")
        left = [name for name in senses if not any(part in name for part in without) and not self._is_unused(name)]
        refuse_left_over(left, used, self.blueprint.architecture, self.folder)

    def _is_unused(self, name: str) -> bool:
        """A tensor of a head that guesses ahead, or one that its layer leaves alone."""
        pieces = name.split(".", 3)
        if len(pieces) < 4 or pieces[:2] != ["model", "layers"] or not pieces[2].isdigit():
            return False
        layer = int(pieces[2])
        if layer >= self.blueprint.num_layers:
            return self.family.guesses_ahead
        return self.family.idle(self.blueprint, layer, pieces[3])

    def tensor(self, name: str) -> RawTensor:
        take = next((take for take in self._takes(name) if take.name in self.stored), None)
        if take is None:
            raise ModelFileError(f"{self.folder} has no tensor for {name}; it is not a complete model")
        tensor = self.stored.take(take, self._shapes[name])
        check_finite(tensor, take.name, str(self.folder))
        return tensor
