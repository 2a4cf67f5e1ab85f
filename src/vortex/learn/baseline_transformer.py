"""The Transformer that the core is measured against: RoPE, SwiGLU, RMSNorm, and short convolutions too.

Trained by the same loop on the same tokens (`training/loop.py`), it answers in the core's own form. For measurements:
it keeps no state and serves nobody. With `window` each token sees only the last so many, itself included.
Shapes: B sequences, T tokens, D width, H heads, K head width, V vocabulary.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from vortex.errors import ConfigError, ModelFileError
from vortex.vblocks.network.gated_mlp import GatedMLP
from vortex.vblocks.network.local_mixer import rotated
from vortex.vblocks.network.network import CoreOutput, RMSNorm

ROPE_BASE = 10_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineConfig:
    """window: tokens that attention reaches back, the token itself included; 0: all. as_recall: begin as the core does,
    every path silent, and attention with the token before as its key."""

    vocab_size: int
    width: int = 128
    num_layers: int = 4
    num_heads: int = 2
    mlp_width: int = 384
    conv: int = 4
    window: int = 0
    as_recall: bool = False

    def __post_init__(self) -> None:
        if self.width % (2 * self.num_heads):
            raise ConfigError("a Transformer's width must be a multiple of twice its heads")

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> BaselineConfig:
        try:
            return cls(**values)
        except TypeError as error:
            raise ModelFileError(f"the Transformer's configuration is not usable: {error}") from error

    def state_bytes(self, num_tokens: int) -> int:
        """Of the keys and values of one sequence of that length, in float32."""
        kept = min(num_tokens, self.window) if self.window else num_tokens
        return 4 * 2 * self.width * kept * self.num_layers


class _Attention(nn.Module):
    def __init__(self, config: BaselineConfig) -> None:
        super().__init__()
        self.config = config
        self.in_proj = nn.Linear(config.width, 3 * config.width, bias=False)
        self.conv = nn.Conv1d(3 * config.width, 3 * config.width, config.conv, groups=3 * config.width, bias=False)
        self.out_proj = nn.Linear(config.width, config.width, bias=False)
        nn.init.zeros_(self.conv.weight)
        with torch.no_grad():
            self.conv.weight[:, :, -1] = 1.0  # begins as no convolution

    def forward(self, x_BTD: torch.Tensor) -> torch.Tensor:
        config, (b, t, _) = self.config, x_BTD.shape
        mixed = F.pad(self.in_proj(x_BTD).transpose(1, 2), (config.conv - 1, 0))
        qkv = self.conv(mixed).transpose(1, 2).reshape(b, t, 3, config.num_heads, -1).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        q, k = (rotated(part.transpose(1, 2), 0, ROPE_BASE).transpose(1, 2).to(q.dtype) for part in (q, k))
        if config.window and t > config.window:
            place = torch.arange(t, device=x_BTD.device)
            distance = place[:, None] - place
            mask = (distance >= 0) & (distance < config.window)
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        else:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        out: torch.Tensor = self.out_proj(y.transpose(1, 2).reshape(b, t, -1))
        return out


class _Layer(nn.Module):
    def __init__(self, config: BaselineConfig) -> None:
        super().__init__()
        self.attention_norm, self.mlp_norm = RMSNorm(config.width, 1e-6), RMSNorm(config.width, 1e-6)
        self.attention = _Attention(config)
        self.mlp = GatedMLP(config.width, config.mlp_width)

    def begin_as_recall(self) -> None:
        width = self.attention.config.width
        with torch.no_grad():
            self.attention.in_proj.weight[width : 2 * width] = self.attention.in_proj.weight[:width]
            self.attention.conv.weight[width : 2 * width] = self.attention.conv.weight[width : 2 * width].roll(-1, -1)
            for part in (self.attention, self.mlp):
                part.out_proj.weight.zero_()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.attention_norm(x))
        y: torch.Tensor = x + self.mlp(self.mlp_norm(x))
        return y


class BaselineTransformer(nn.Module):
    draft_heads = 0

    def __init__(self, config: BaselineConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.width)
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.num_layers))
        self.norm = RMSNorm(config.width, 1e-6)
        self._initialise()

    def forward(self, token_ids_BT: torch.Tensor, *, with_mtp: bool = True) -> CoreOutput:
        """`with_mtp` changes nothing: there are no further heads."""
        x = self.embedding(token_ids_BT)
        for layer in self.layers:
            x = layer(x)
        hidden = self.norm(x)
        return CoreOutput(hidden, F.linear(hidden, self.embedding.weight), (), {}, None, {})

    def parameter_groups(self, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
        matrices = [p for name, p in self.named_parameters() if p.dim() == 2]
        rest = [p for name, p in self.named_parameters() if p.dim() != 2]
        return [
            {"params": matrices, "lr": learning_rate, "weight_decay": weight_decay},
            {"params": rest, "lr": learning_rate, "weight_decay": 0.0},
        ]

    def num_parameters(self, *, with_embeddings: bool = True) -> int:
        named = self.named_parameters()
        return sum(p.numel() for name, p in named if with_embeddings or not name.startswith("embedding."))

    def _initialise(self) -> None:
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                std = parameter.shape[1] ** -0.5
                if name.endswith("out_proj.weight"):
                    std *= (2 * self.config.num_layers) ** -0.5
                nn.init.normal_(parameter, std=0.02 if "embedding" in name else std)
        if self.config.as_recall:
            for layer in self.layers:
                layer.begin_as_recall()
