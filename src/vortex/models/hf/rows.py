"""Linear layers whose rows do not depend on what else is in the batch, inside any transformers model.

A general matrix product rounds a row differently at different heights of the batch. So rows are multiplied in pieces
whose height is a request's own affair, or at heights that were seen to give the same bits on this very device:

  joined   rows of small spans together, up to 16 at a time; every height up to 16 gives the same bits (bfloat16 on a
           CPU with AMX, for one)
  padded   the same, filled up to 16 rows: free where a product waits for memory, on a GPU
  apart    every span by itself

A span of more than 16 rows (a prompt's chunk) is a piece of its own in any case. `steady_mode` finds out what holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Any

import torch

from vortex.c3.torch.paged_linear import PagedLinear

TILE = 16
PROBED_HEIGHTS = (1, 2, 3, 4, 5, 8, 12, TILE)
DRAWS = 3  # of a tile of rows


class Mode(StrEnum):
    JOINED = "joined"
    PADDED = "padded"
    APART = "apart"


@dataclass(slots=True)
class Rows:
    """How the rows of one forward are cut. lengths: rows per span, small spans first."""

    mode: Mode = Mode.APART
    lengths: Sequence[int] = ()
    wanted: Sequence[int] = ()  # rows per span that meet the head
    pieces: list[slice] = field(default_factory=list)
    wanted_pieces: list[slice] = field(default_factory=list)

    def cut(self, lengths: Sequence[int], wanted: Sequence[int]) -> None:
        self.lengths, self.wanted = lengths, wanted
        self.pieces, self.wanted_pieces = self._cut(lengths), self._cut(wanted)

    def of(self, num_rows: int, *, is_head: bool) -> list[slice]:
        """Pieces of `num_rows` rows. Rows that are not the forward's own (experts gather some) are all small."""
        if is_head and num_rows == sum(self.wanted):
            return self.wanted_pieces
        if not is_head and num_rows == sum(self.lengths):
            return self.pieces
        return self._cut([1] * num_rows)

    def _cut(self, lengths: Sequence[int]) -> list[slice]:
        pieces, start, small_end = [], 0, 0
        if self.mode is not Mode.APART:
            small_end = sum(length for length in lengths if length <= TILE)
            pieces = [slice(row, min(row + TILE, small_end)) for row in range(0, small_end, TILE)]
        for length in lengths:
            if length > TILE or (self.mode is Mode.APART and length):
                start = max(start, small_end)
                pieces.append(slice(start, start + length))
                start += length
        return pieces


def is_linear(module: Any) -> bool:
    conv1d = type(module).__name__ == "Conv1D" and type(module).__module__ == "transformers.pytorch_utils"
    return type(module) in {torch.nn.Linear, PagedLinear} or conv1d


def make_steady(model: Any, rows: Rows) -> None:
    """Every linear of the model multiplies in the pieces of `rows` from now on."""
    head = model.get_output_embeddings()
    for module in model.modules():
        if is_linear(module):
            module.forward = partial(_forward, module, rows, module is head)


def _forward(module: Any, rows: Rows, is_head: bool, x: torch.Tensor) -> torch.Tensor:
    flat = x.reshape(-1, x.shape[-1])
    num_outputs = module.out_features if hasattr(module, "out_features") else module.nf
    pieces = rows.of(len(flat), is_head=is_head)
    if not pieces:
        return x.new_empty(*x.shape[:-1], num_outputs)
    with _weight_of(module) as weight:
        outputs = [_product(module, flat[piece], weight, padded=rows.mode is Mode.PADDED) for piece in pieces]
    joined = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
    return joined.view(*x.shape[:-1], num_outputs)


def _weight_of(module: Any) -> Any:
    """A context: the weight is there for all pieces of a forward, and a paged one is read once for them."""
    return module.lease() if isinstance(module, PagedLinear) else nullcontext(module.weight)


def _product(module: Any, x: torch.Tensor, weight: torch.Tensor, *, padded: bool = False) -> torch.Tensor:
    missing = TILE - len(x) if padded else 0
    if missing > 0:
        x = torch.cat([x, x.new_zeros(missing, x.shape[-1])])
    if isinstance(module, PagedLinear):
        y = module.product(x, weight)
    elif hasattr(module, "nf"):
        y = torch.addmm(module.bias, x, weight)
    else:
        y = torch.nn.functional.linear(x, weight, module.bias)
    return y[: len(x) - missing] if missing > 0 else y


@torch.inference_mode()
def steady_mode(model: Any) -> Mode:
    """What holds for products of this model's shapes on its device, found by trying each shape."""
    linears = {(type(m), tuple(m.weight.shape), m.weight.dtype): m for m in model.modules() if is_linear(m)}
    if all(_same_rows(linear, PROBED_HEIGHTS) for linear in linears.values()):
        return Mode.JOINED
    on_gpu = any(parameter.device.type == "cuda" for parameter in model.parameters())
    if on_gpu and all(_same_rows(linear, (TILE,)) for linear in linears.values()):
        return Mode.PADDED
    return Mode.APART


def _same_rows(linear: Any, heights: Sequence[int]) -> bool:
    """Whether rows come out the same at all heights and places, whatever their neighbours are.

    Different sums of the same products mostly round to the same bfloat16: one row hides what a tile of rows, drawn
    several times, shows (measured on an AMD CPU: a third of the products of 576 x 1,536 had a row that differed).
    """
    with _weight_of(linear) as weight:
        num_inputs = linear.in_features if hasattr(linear, "in_features") else linear.nx
        generator = torch.Generator(weight.device).manual_seed(0)
        options = {"generator": generator, "device": weight.device, "dtype": torch.float32}

        def drawn(num_rows: int) -> torch.Tensor:
            return torch.randn(num_rows, num_inputs, **options).to(weight.dtype)

        for _ in range(DRAWS):
            x = drawn(TILE)
            alone = []
            for row in x:
                company = drawn(heights[0])
                company[0] = row
                alone.append(_product(linear, company, weight)[0].clone())
            wanted = torch.stack(alone)
            for height in heights:
                forward = _product(linear, x[:height], weight)
                turned = _product(linear, x[:height].flip(0), weight).flip(0)
                if not (torch.equal(forward, wanted[:height]) and torch.equal(turned, wanted[:height])):
                    return False
    return True
