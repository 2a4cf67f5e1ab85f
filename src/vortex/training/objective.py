"""What training minimises: the next token, later tokens by a forward curriculum, and the depth gates' excess.

Multi-token prediction begins with the next token alone; each further head's weight rises to its full one during its
own part of the first half of training (small models gain only from such a curriculum, arXiv 2505.22757).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F

AUXILIARY_WEIGHT = 1.0


class NetworkOutput(Protocol):
    """What a trainable network's forward gives: see vblocks/network/network.py."""

    @property
    def logits(self) -> torch.Tensor: ...

    @property
    def mtp_logits(self) -> tuple[torch.Tensor, ...]: ...

    @property
    def losses(self) -> Mapping[str, torch.Tensor]: ...


@dataclass(frozen=True, slots=True)
class Loss:
    """total: to be minimised. next_token: nats per token, without gradient."""

    total: torch.Tensor
    next_token: torch.Tensor


def loss_of(output: NetworkOutput, ids_BT1: torch.Tensor, mtp_weights: tuple[float, ...]) -> Loss:
    """ids [B, T + 1]: the tokens that went in are the first T. mtp_weights: one per head that was computed."""
    next_token = _cross_entropy(output.logits, ids_BT1[:, 1:])
    total = next_token
    for at, (logits, weight) in enumerate(zip(output.mtp_logits, mtp_weights, strict=False)):
        if weight:
            total = total + weight * _cross_entropy(logits[:, : -(at + 1)], ids_BT1[:, at + 2 :])
    for value in output.losses.values():
        total = total + AUXILIARY_WEIGHT * value
    return Loss(total, next_token.detach())


def mtp_weights(progress: float, heads: int, full_weight: float) -> tuple[float, ...]:
    """Of each head when `progress` of all steps (0 to 1) are done: head j rises in part j + 2 of 2 heads + 2."""
    part = 1 / (2 * heads + 2) if heads else 1.0
    rises = (min(1.0, max(0.0, progress / part - (at + 1))) for at in range(heads))
    return tuple(full_weight * 0.7**at * rise for at, rise in enumerate(rises))


def _cross_entropy(logits_BTV: torch.Tensor, targets_BT: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(logits_BTV.flatten(0, 1).float(), targets_BT.flatten())
