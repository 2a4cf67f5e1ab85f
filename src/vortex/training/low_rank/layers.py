"""Low-rank changes beside the frozen linear layers of a model of the transformers library.

`y += alpha / rank * B (A x)` with A and B in float32 whatever the base is held in: steps of 1e-3 vanish in bfloat16.
B begins at zero, so that an untrained adapter changes nothing. Shapes: r rank, N rows (out), K columns (in).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from vortex.errors import UnsupportedModel


class LowRankLinear(nn.Module):
    """A frozen linear layer and what is learnt beside it. `on` False: the base alone."""

    def __init__(self, base: nn.Linear, rank: int, alpha: float, generator: torch.Generator) -> None:
        super().__init__()
        self.base = base
        self.scale = alpha / rank
        self.on = True
        device = base.weight.device
        drawn_rK = torch.empty(rank, base.in_features)
        nn.init.kaiming_uniform_(drawn_rK, a=math.sqrt(5), generator=generator)
        self.a_rK = nn.Parameter(drawn_rK.to(device))
        self.b_Nr = nn.Parameter(torch.zeros(base.out_features, rank, device=device))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.base(x)
        if not self.on:
            return y
        change = F.linear(F.linear(x.float(), self.a_rK), self.b_Nr)
        return y + (self.scale * change).to(y.dtype)


class LowRankParameters(nn.Module):
    """All that is trained, by layer name; what a state on disk holds."""

    def __init__(self, layers: Mapping[str, LowRankLinear]) -> None:
        super().__init__()
        self.layers = dict(layers)
        for name, layer in layers.items():
            self.register_parameter(f"{name.replace('.', '/')}/a", layer.a_rK)
            self.register_parameter(f"{name.replace('.', '/')}/b", layer.b_Nr)

    @contextlib.contextmanager
    def off(self) -> Iterator[None]:
        """The base alone, inside."""
        for layer in self.layers.values():
            layer.on = False
        try:
            yield
        finally:
            for layer in self.layers.values():
                layer.on = True

    def pairs(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """(A [r, K], B [N, r]) float32 by layer name, for adapters/writing.py."""
        return {
            name: (layer.a_rK.detach().float().cpu().numpy(), layer.b_Nr.detach().float().cpu().numpy())
            for name, layer in self.layers.items()
        }


def attach(
    model: Any,
    targets: Mapping[str, tuple[int, int]],
    *,
    rank: int,
    alpha: float,
    seed: int,
    kinds: Collection[str] = (),
) -> LowRankParameters:
    """Freeze the model and put a low-rank change beside every target. kinds: ends of names to take; none: all.

    targets: names as in transformers, (rows, columns). Raises UnsupportedModel for a target that is no such linear.
    """
    model.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    found: dict[str, LowRankLinear] = {}
    for name, (rows, columns) in targets.items():
        if kinds and name.rsplit(".", 1)[-1] not in kinds:
            continue
        parent_name, _, own = name.rpartition(".")
        try:
            parent = model.get_submodule(parent_name)
            base = getattr(parent, own)
        except AttributeError as error:
            raise UnsupportedModel(
                f"the model as transformers has it lacks {name}; it cannot be trained here"
            ) from error
        if not isinstance(base, nn.Linear) or (base.out_features, base.in_features) != (rows, columns):
            raise UnsupportedModel(f"{name} is no linear layer of {rows} x {columns}; it cannot be trained here")
        layer = LowRankLinear(base, rank, alpha, generator)
        setattr(parent, own, layer)
        found[name] = layer
    if not found:
        raise UnsupportedModel("none of the layers to train is in the model; leave continuous.layers empty for all")
    return LowRankParameters(found)
