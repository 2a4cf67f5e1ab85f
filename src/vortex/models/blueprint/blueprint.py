"""A whole model as data: sizes, rotations, and for every layer its steps. Kept as JSON beside packed weights.

A step normalises the rows, lets one or several blocks turn them, normalises what came out, and adds it to the rows.
Norms are named; an empty name is no norm. What a file says is checked when it is read: a blueprint that was tampered
with is a ModelFileError, not a crash.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from vortex.errors import ModelFileError
from vortex.models.blueprint.attention import Attention
from vortex.models.blueprint.blocks import Block, Shapes
from vortex.models.blueprint.feed_forward import Experts, FeedForward
from vortex.models.blueprint.latent import LatentAttention
from vortex.models.blueprint.per_layer import PerLayerEmbedding, PerLayerInput
from vortex.models.blueprint.recurrences import DeltaRule, Mamba2, ShortConvolution

KINDS: Mapping[str, type[Any]] = {
    kind.kind: kind
    for kind in (Attention, LatentAttention, DeltaRule, Mamba2, ShortConvolution, FeedForward, Experts, PerLayerInput)
}
Part = TypeVar("Part")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """x += scale * post_norm(sum of blocks(norm(x))); then x *= the vector `after` (one number), where it is named.

    block_norms: instead of one norm, one before each block; block_post_norms: one behind each, before the sum.
    """

    blocks: tuple[Block, ...]
    norm: str = ""
    post_norm: str = ""
    block_norms: tuple[str, ...] = ()
    block_post_norms: tuple[str, ...] = ()
    scale: float = 1.0
    after: str = ""

    @property
    def norms(self) -> tuple[str, ...]:
        return tuple(filter(None, (self.norm, self.post_norm, *self.block_norms, *self.block_post_norms)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Blueprint:
    """rotations: inverse frequencies by name, the R of `rows.rotate`. logit_cap 0: none. multipliers: numbers by tensor
    that went into the weights when they were read.
    """

    architecture: str
    width: int
    vocab_size: int
    context_length: int
    epsilon: float
    layers: tuple[tuple[Step, ...], ...]
    rotations: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    embedding_scale: float = 1.0
    embedding_norm: bool = False
    logit_scale: float = 1.0
    logit_cap: float = 0.0
    tied_head: bool = False
    per_layer: PerLayerEmbedding | None = None
    multipliers: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    @property
    def num_layers(self) -> int:
        return len(self.layers)

    def blocks(self, layer: int) -> Iterator[Block]:
        for step in self.layers[layer]:
            yield from step.blocks

    def experts(self, layer: int) -> Experts | None:
        return next((block for block in self.blocks(layer) if isinstance(block, Experts)), None)

    @property
    def experts_per_token(self) -> int:
        return max((block.used for layer in range(self.num_layers) if (block := self.experts(layer))), default=0)

    def shapes(self, layer: int) -> Shapes:
        """Of all tensors of a layer by their names within it."""
        found: dict[str, tuple[int, int]] = {}
        for step in self.layers[layer]:
            found |= dict.fromkeys(step.norms, (1, self.width))
            found |= {step.after: (1, 1)} if step.after else {}
            for block in step.blocks:
                found |= block.shapes(self.width)
        return found

    def top_shapes(self) -> Shapes:
        found: dict[str, tuple[int, int]] = {"embedding": (self.vocab_size, self.width), "final_norm": (1, self.width)}
        found |= {"embedding_norm": (1, self.width)} if self.embedding_norm else {}
        found |= {} if self.tied_head else {"head": (self.vocab_size, self.width)}
        if (extra := self.per_layer) is not None:
            every = self.num_layers * extra.input_width
            found |= {"per_layer_embedding": (extra.vocab_size, every), "per_layer_projection": (every, self.width)}
            found |= {"per_layer_norm": (1, extra.input_width)}
        return found

    def all_shapes(self) -> dict[str, tuple[int, int]]:
        found = dict(self.top_shapes())
        for layer in range(self.num_layers):
            found |= {f"layers.{layer}.{name}": shape for name, shape in self.shapes(layer).items()}
        return found

    def angles(self, positions: np.ndarray) -> dict[str, np.ndarray]:
        """float64 [B, R] by name."""
        return {name: positions[:, None] * np.asarray(one, np.float64) for name, one in self.rotations.items()}

    def to_json(self) -> dict[str, Any]:
        values = {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}
        values["per_layer"] = dataclasses.asdict(self.per_layer) if self.per_layer else None
        values["layers"] = [[_step_json(step) for step in layer] for layer in self.layers]
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any], origin: str) -> Blueprint:
        """What `to_json` wrote. Raises ModelFileError for anything else."""
        try:
            found = dict(values)
            found["layers"] = tuple(tuple(_step(step) for step in layer) for layer in values["layers"])
            for tables in ("rotations", "multipliers"):
                found[tables] = {str(name): tuple(map(float, one)) for name, one in values[tables].items()}
            extra = values["per_layer"]
            found["per_layer"] = _typed(PerLayerEmbedding, extra) if extra else None
            return check_blueprint(_typed(cls, found), origin)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ModelFileError(
                f"{origin} holds no blueprint of a model ({error}); delete it to have it made anew"
            ) from error


def check_blueprint(blueprint: Blueprint, origin: str) -> Blueprint:
    """Raises ModelFileError for sizes that make no model."""
    for name, (rows, columns) in blueprint.all_shapes().items():
        if rows < 1 or columns < 1:
            raise ModelFileError(f"{origin}: {name} would be {rows} x {columns}; the file is damaged")
    for layer in range(blueprint.num_layers):
        for block in blueprint.blocks(layer):
            if (problem := _problem(block, layer, blueprint)) is not None:
                raise ModelFileError(f"{origin}: layer {layer} {problem}; the file is damaged")
    if blueprint.context_length < 1 or not blueprint.layers:
        raise ModelFileError(f"{origin} has no layers or no context; the file is damaged")
    return blueprint


def _problem(block: Block, layer: int, blueprint: Blueprint) -> str | None:
    if isinstance(block, Attention):
        if block.heads % block.kv_heads:
            return f"has {block.heads} heads over {block.kv_heads} key heads"
        if block.rotation and 2 * len(blueprint.rotations.get(block.rotation, ())) > block.head_width:
            return f"turns more numbers than its heads of {block.head_width} have"
        if block.shares >= layer:
            return f"shares the keys of layer {block.shares}, which comes later"
    if isinstance(block, Experts) and not 0 < block.used <= block.num_experts:
        return f"uses {block.used} of {block.num_experts} experts"
    if isinstance(block, DeltaRule) and block.value_heads % block.key_heads:
        return f"has {block.value_heads} value heads over {block.key_heads} key heads"
    if isinstance(block, Mamba2) and block.heads % block.groups:
        return f"has {block.heads} heads in {block.groups} groups"
    return None


def _step_json(step: Step) -> dict[str, Any]:
    values = {one.name: getattr(step, one.name) for one in dataclasses.fields(step)}
    values["blocks"] = [{"kind": block.kind, **dataclasses.asdict(block)} for block in step.blocks]  # type: ignore[call-overload]  # every block is a dataclass
    return values


def _step(values: Mapping[str, Any]) -> Step:
    blocks = []
    for said in values["blocks"]:
        fields = {name: tuple(one) if isinstance(one, list) else one for name, one in said.items() if name != "kind"}
        blocks.append(_typed(KINDS[said["kind"]], fields))
    names = {name: tuple(map(str, values[name])) for name in ("block_norms", "block_post_norms")}
    return _typed(Step, {**values, "blocks": tuple(blocks), **names})


def _typed(kind: type[Part], values: Mapping[str, Any]) -> Part:
    """The dataclass of these values; numbers and texts must be of the types of its fields."""
    made = kind(**values)
    known: Mapping[str, tuple[type, ...]] = {"int": (int,), "str": (str,), "bool": (bool,), "float": (int, float)}
    for one in dataclasses.fields(made):  # type: ignore[arg-type]  # only dataclasses come here
        value, wanted = getattr(made, one.name), known.get(str(one.type))
        if wanted is not None and (not isinstance(value, wanted) or (bool not in wanted and isinstance(value, bool))):
            raise TypeError(f"{one.name} is {value!r}")
    return made
