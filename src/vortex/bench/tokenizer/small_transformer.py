"""A small Transformer for comparing tokenizers: trained on rows of ids, judged in bits on documents.

Everything but the ids is the same for every tokenizer: shape, seed, batches, rates. On a GPU products run in
bfloat16; weights, losses and the optimizer stay in float32. Shapes: B sequences, T tokens, D width.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

SAY_EVERY_S = 15.0
WARM_UP_STEPS = 30


@dataclass(frozen=True, slots=True)
class SmallModel:
    """vocab_size: ids, the begin mark included. A batch is `batch` rows of `window_tokens`."""

    vocab_size: int
    width: int = 128
    layers: int = 2
    heads: int = 4
    window_tokens: int = 128
    batch: int = 8
    learning_rate: float = 3e-3
    seed: int = 0
    device: str = "cpu"

    @property
    def tokens_per_step(self) -> int:
        return self.batch * self.window_tokens

    @property
    def flops_per_step(self) -> float:
        """Multiplications and additions of one training step: six for each weight and token, and attention's own."""
        weights = 12 * self.layers * self.width**2 + self.vocab_size * self.width
        return 6.0 * self.tokens_per_step * (weights + self.layers * self.width * self.window_tokens)


SHAPES = {  # by device: for two cores, and for a large GPU
    "cpu": SmallModel(0),
    "cuda": SmallModel(0, 512, 8, 8, 512, 64, 1e-3, device="cuda"),
}


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


class SmallTransformer(nn.Module):  # type: ignore[misc]
    """Ids [B, T] to logits [B, T, V], of at most `window_tokens` positions."""

    def __init__(self, model: SmallModel) -> None:
        super().__init__()
        torch.manual_seed(model.seed)
        self.shape = model
        self.embed = nn.Embedding(model.vocab_size, model.width)
        self.position = nn.Embedding(model.window_tokens, model.width)
        self.blocks = nn.ModuleList(_Block(model) for _ in range(model.layers))
        self.norm = nn.RMSNorm(model.width)
        nn.init.normal_(self.embed.weight, std=0.02)
        nn.init.normal_(self.position.weight, std=0.02)
        self.to(model.device)

    def forward(self, ids_BT: torch.Tensor) -> torch.Tensor:
        x_BTD = self.embed(ids_BT) + self.position.weight[: ids_BT.shape[1]]
        for block in self.blocks:
            x_BTD = block(x_BTD)
        return functional.linear(self.norm(x_BTD), self.embed.weight)

    def nats(self, ids_BT: torch.Tensor, targets_BT: torch.Tensor, reduction: str) -> torch.Tensor:
        """Cross-entropy of the targets; those of -100 do not count."""
        with _bfloat16(self.shape.device):
            logits = self(ids_BT)
        return functional.cross_entropy(logits.float().flatten(0, 1), targets_BT.flatten(), reduction=reduction)


def train(net: SmallTransformer, stream: np.ndarray, steps: int, say: Callable[[str], None]) -> None:
    """`steps` batches of rows of `stream` [tokens] (again from its start when it ends), one cosine of rates."""
    model = net.shape
    rows = len(stream) // (model.window_tokens + 1)
    windows = torch.from_numpy(stream[: rows * (model.window_tokens + 1)].astype(np.int64)).view(rows, -1)
    optimizer = torch.optim.AdamW(net.parameters(), lr=model.learning_rate, betas=(0.9, 0.95), weight_decay=0.1)
    said_s, turn, at = time.monotonic(), 0, rows
    for step in range(steps):
        if at + model.batch > rows:
            order = np.random.default_rng((model.seed, turn)).permutation(rows)
            turn, at = turn + 1, 0
        ids = windows[torch.from_numpy(order[at : at + model.batch])].to(model.device)
        at += model.batch
        rate = min(1.0, (step + 1) / WARM_UP_STEPS) * (0.5 + 0.5 * math.cos(math.pi * step / steps))
        for group in optimizer.param_groups:
            group["lr"] = model.learning_rate * rate
        loss = net.nats(ids[:, :-1], ids[:, 1:], "mean")
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        if time.monotonic() - said_s > SAY_EVERY_S:
            said_s = time.monotonic()
            say(f"step {step + 1} of {steps}, {loss.item() / math.log(2):.2f} bits a token")


def bits_of_documents(net: SmallTransformer, documents: Sequence[np.ndarray], begin_id: int) -> list[float]:
    """Bits to write each document's ids, its first one included: it is guessed from the begin mark.

    Windows overlap by half, so that every id but a document's first has at least half a window before it.
    """
    model = net.shape
    half = model.window_tokens // 2
    found = []
    for document in documents:
        ids = np.concatenate([[begin_id], document]).astype(np.int64)
        rows = [_row(ids, at, half, model.window_tokens) for at in range(0, len(document), half)]
        nats = 0.0
        for at in range(0, len(rows), model.batch):
            part = torch.from_numpy(np.stack(rows[at : at + model.batch])).to(model.device)
            with torch.no_grad():
                nats += float(net.nats(part[:, 0], part[:, 1], "sum"))
        found.append(nats / math.log(2))
    return found


def _row(ids: np.ndarray, at: int, half: int, window: int) -> np.ndarray:
    """[2, window]: ids and targets; counted are the `half` targets from `at` on, what is before them is context."""
    begin = max(0, at - half)
    row = np.zeros((2, window), np.int64)
    row[1] = -100
    given = ids[begin : min(at + half, len(ids) - 1)]
    row[0, : len(given)] = given
    row[1, at - begin : len(given)] = ids[at + 1 : begin + len(given) + 1]
    return row


def _bfloat16(device: str) -> contextlib.AbstractContextManager[object]:
    """On a GPU; at these sizes two cores were no faster with it, even with units for it."""
    return contextlib.nullcontext() if device == "cpu" else torch.autocast(device, torch.bfloat16)
