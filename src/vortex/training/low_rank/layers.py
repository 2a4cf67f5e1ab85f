"""Low-rank changes beside the frozen linear layers of a model of the transformers library.

`y += alpha / rank * B (A x)` with A and B in float32 whatever the base is held in: steps of 1e-3 vanish in bfloat16.
B begins at zero, so that an untrained adapter changes nothing. Shapes: r rank, N rows (out), K columns (in).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Collection, Iterator, Mapping
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import nn

from vortex.errors import UnsupportedModel
from vortex.training.low_rank.four_bit import FourBitLinear


class _Beside(torch.autograd.Function):
    """x W^T + bias + scale (x A^T) B^T in the base's type, with gradients of x, A and B.

    One pass each way, and sums in place: written with ordinary operations, the float32 copies of activations took
    longer than the products. A and B are rounded to the base's type for the product; their gradients come back in
    float32.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x_MK: torch.Tensor,
        a_rK: torch.Tensor,
        b_Nr: torch.Tensor,
        layer: LowRankLinear,
    ) -> torch.Tensor:
        a, b = a_rK.to(x_MK.dtype), b_Nr.to(x_MK.dtype)
        inner_Mr = x_MK @ a.T
        y_MN: torch.Tensor = layer.base(x_MK)
        y_MN.addmm_(inner_Mr, b.T, alpha=layer.scale)
        ctx.save_for_backward(x_MK, inner_Mr, a, b)
        ctx.layer = layer
        return y_MN

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x_MK, inner_Mr, a_rK, b_Nr = ctx.saved_tensors
        (dy_MN,), scale = gradients, ctx.layer.scale
        inside_Mr = (dy_MN @ b_Nr).mul_(scale)
        dx_MK = None
        if ctx.needs_input_grad[0]:
            dx_MK = dy_MN @ ctx.layer.base.weight.to(dy_MN.dtype)
            dx_MK.addmm_(inside_Mr, a_rK)
        da_rK, db_Nr = inside_Mr.T @ x_MK, dy_MN.T @ inner_Mr
        return dx_MK, da_rK.float(), db_Nr.float().mul_(scale), None


class LowRankLinear(nn.Module):
    """A frozen linear layer and what is learnt beside it. `on` False: the base alone."""

    def __init__(self, base: nn.Linear | FourBitLinear, rank: int, alpha: float, generator: torch.Generator) -> None:
        super().__init__()
        self.base = base
        self.scale = alpha / rank
        self.on = True
        device = next(chain(base.parameters(), base.buffers())).device
        drawn_rK = torch.empty(rank, base.in_features)
        nn.init.kaiming_uniform_(drawn_rK, a=math.sqrt(5), generator=generator)
        self.a_rK = nn.Parameter(drawn_rK.to(device))
        self.b_Nr = nn.Parameter(torch.zeros(base.out_features, rank, device=device))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.on:
            y: torch.Tensor = self.base(x)
            return y
        y_MN = _Beside.apply(x.reshape(-1, x.shape[-1]), self.a_rK, self.b_Nr, self)
        return y_MN.view(*x.shape[:-1], y_MN.shape[-1])


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
        if not isinstance(base, nn.Linear | FourBitLinear) or (base.out_features, base.in_features) != (rows, columns):
            raise UnsupportedModel(f"{name} is no linear layer of {rows} x {columns}; it cannot be trained here")
        layer = LowRankLinear(base, rank, alpha, generator)
        setattr(parent, own, layer)
        found[name] = layer
    if not found:
        raise UnsupportedModel("none of the layers to train is in the model; leave continuous.layers empty for all")
    return LowRankParameters(found)
