"""Bits per byte of one small Transformer trained on each tokenizer at equal compute.

The vocabularies have one size, so equal steps of equal batches are equal compute; a tokenizer that spends fewer tokens
shows the model more text in them, which is its point. Judged on held-out bytes, each document predicted from its start
in windows. Shapes: B sequences, T tokens, D width, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from vortex.bench.tokenizer_peers import Contender


@dataclass(frozen=True, slots=True)
class SmallModel:
    """Small enough for two cores and minutes; the same for every tokenizer."""

    width: int = 128
    layers: int = 2
    heads: int = 4
    window_tokens: int = 128
    batch: int = 8
    steps: int = 300
    learning_rate: float = 3e-3
    seed: int = 0


class _Block(nn.Module):  # type: ignore[misc]
    def __init__(self, model: SmallModel) -> None:
        super().__init__()
        self.heads = model.heads
        self.norm_attention, self.norm_mlp = nn.RMSNorm(model.width), nn.RMSNorm(model.width)
        self.qkv = nn.Linear(model.width, 3 * model.width, bias=False)
        self.out = nn.Linear(model.width, model.width, bias=False)
        self.up = nn.Linear(model.width, 4 * model.width, bias=False)
        self.down = nn.Linear(4 * model.width, model.width, bias=False)

    def forward(self, x_BTD: torch.Tensor) -> torch.Tensor:
        b, t, d = x_BTD.shape
        qkv = self.qkv(self.norm_attention(x_BTD)).view(b, t, 3, self.heads, d // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x_BTD = x_BTD + self.out(mixed.transpose(1, 2).reshape(b, t, d))
        return x_BTD + self.down(functional.silu(self.up(self.norm_mlp(x_BTD))))


class _Transformer(nn.Module):  # type: ignore[misc]
    def __init__(self, model: SmallModel, vocab_size: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocab_size, model.width)
        self.position = nn.Embedding(model.window_tokens, model.width)
        self.blocks = nn.ModuleList(_Block(model) for _ in range(model.layers))
        self.norm = nn.RMSNorm(model.width)
        nn.init.normal_(self.embed.weight, std=0.02)
        nn.init.normal_(self.position.weight, std=0.02)

    def forward(self, ids_BT: torch.Tensor) -> torch.Tensor:
        x_BTD = self.embed(ids_BT) + self.position.weight[: ids_BT.shape[1]]
        for block in self.blocks:
            x_BTD = block(x_BTD)
        return functional.linear(self.norm(x_BTD), self.embed.weight)


def bits_per_byte(
    contender: Contender, training: Sequence[bytes], held_out: Sequence[bytes], model: SmallModel
) -> float:
    """Train one model on `training` with this tokenizer and judge it on `held_out`."""
    torch.manual_seed(model.seed)
    order = np.random.default_rng(model.seed)
    needed = model.steps * model.batch * (model.window_tokens + 1)
    parts: list[np.ndarray] = []
    for at in order.permutation(len(training)):
        parts.append(np.asarray(contender.encode(training[at]), np.int64))
        needed -= len(parts[-1])
        if needed <= 0:
            break
    stream = np.concatenate(parts)
    usable = len(stream) // (model.window_tokens + 1)
    windows = torch.from_numpy(stream[: usable * (model.window_tokens + 1)]).view(usable, -1)
    net = _Transformer(model, contender.vocab_size)
    _train(net, windows[torch.from_numpy(order.permutation(usable))], model)
    return _judge(net, contender, held_out, model)


def _train(net: _Transformer, windows: torch.Tensor, model: SmallModel) -> None:
    optimizer = torch.optim.AdamW(net.parameters(), lr=model.learning_rate, betas=(0.9, 0.95), weight_decay=0.1)
    for step in range(model.steps):
        rate = min(1.0, (step + 1) / 30) * (0.5 + 0.5 * math.cos(math.pi * step / model.steps))
        for group in optimizer.param_groups:
            group["lr"] = model.learning_rate * rate
        at = step * model.batch % max(1, len(windows) - model.batch)
        ids = windows[at : at + model.batch]
        loss = functional.cross_entropy(net(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()


def _judge(net: _Transformer, contender: Contender, held_out: Sequence[bytes], model: SmallModel) -> float:
    """Every token of every document but its first, each with up to a window before it."""
    net.requires_grad_(False)
    nats, num_bytes = 0.0, 0
    for document in held_out:
        ids = torch.from_numpy(np.asarray(contender.encode(document), np.int64))
        for begin in range(0, len(ids) - 1, model.window_tokens):
            part = ids[begin : begin + model.window_tokens + 1]
            loss = functional.cross_entropy(net(part[None, :-1])[0], part[1:], reduction="sum")
            nats += float(loss)
        num_bytes += len(document)
    return nats / math.log(2) / num_bytes
