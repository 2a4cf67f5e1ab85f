"""A frozen base of four bits (QLoRA, arXiv 2305.14314), for models whose 16 bits a card's memory does not hold.

Weights are packed as `models/decoder/torch_unpack.py` has them, rows_int4: groups of 32 with a scale and a minimum in
float16, and made dense for each product, forwards and backwards. The low-rank layers beside them stay in float32.
The same code on a CPU, where it saves memory and costs time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from vortex.errors import UnsupportedModel
from vortex.models.decoder.torch_unpack import dense_rows
from vortex.models.files.formats import GROUP

LAYOUT, LEVELS = "rows_int4", 15


class FourBitLinear(nn.Module):
    """A linear layer whose weight [N, K] is packed. Not trained."""

    packed: torch.Tensor

    def __init__(self, whole: nn.Linear, device: torch.device) -> None:
        super().__init__()
        self.out_features, self.in_features = whole.out_features, whole.in_features
        self.register_buffer("packed", packed_rows(whole.weight.detach()).to(device))
        self.bias = None if whole.bias is None else nn.Parameter(whole.bias.detach().to(device), requires_grad=False)

    @property
    def weight(self) -> torch.Tensor:
        """bfloat16 [N, K], made anew."""
        return dense_rows(LAYOUT, self.packed, self.out_features, self.in_features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self.weight.to(x.dtype), self.bias)


def packed_rows(weight_NK: torch.Tensor) -> torch.Tensor:
    """uint8 bytes of rows_int4. K must be a multiple of 32."""
    rows, columns = weight_NK.shape
    groups = weight_NK.float().view(rows, columns // GROUP, GROUP)
    low, high = groups.amin(-1, keepdim=True), groups.amax(-1, keepdim=True)
    pairs = torch.cat([(high - low) / LEVELS, low], dim=-1).half()
    scale, minimum = pairs.float().split(1, dim=-1)
    code = ((groups - minimum) / scale.clamp(min=1e-12)).round().clamp(0, LEVELS).to(torch.uint8)
    both = code[..., : GROUP // 2] | (code[..., GROUP // 2 :] << 4)
    return torch.cat([both.reshape(-1), pairs.contiguous().view(torch.uint8).reshape(-1)])


def pack_base(model: Any, targets: Iterable[str], device: torch.device) -> None:
    """The named linear layers of a model on four bits on the device, one after the other; the rest follows as it is.

    Raises UnsupportedModel.
    """
    for name in targets:
        parent_name, _, own = name.rpartition(".")
        parent = model.get_submodule(parent_name)
        whole = getattr(parent, own)
        if not isinstance(whole, nn.Linear) or whole.in_features % GROUP:
            raise UnsupportedModel(f"{name} cannot be held in four bits; set continuous.base_bits to 16")
        setattr(parent, own, FourBitLinear(whole, device))
    model.to(device)
