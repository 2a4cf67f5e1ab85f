"""The decoder's arithmetic in plain numpy float32: slow, readable, and the oracle of every fast compute.

B batch rows, D model width, H query heads, K key heads, G = H / K, W head width, S keys.
Weights are dense, straight from the checkpoint. Each row is computed alone, so the law holds bit by bit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from vortex.models.decoder.adapter_parts import layer_parts
from vortex.models.decoder.compute import Batch
from vortex.models.decoder.expert_router import route
from vortex.models.files.checkpoint import Checkpoint, expert_vectors, layer_names
from vortex.models.files.decoder_config import SWIGLU_ALPHA, DecoderConfig
from vortex.models.files.formats import dense
from vortex.types import Exactness, LowRank


class ReferenceCache:
    """keys, values: float32 [layers, capacity, K, W]."""

    def __init__(self, config: DecoderConfig, num_tokens: int = 0) -> None:
        self.config = config
        shape = (config.num_layers, num_tokens, config.num_kv_heads, config.head_width)
        self.keys, self.values = np.zeros(shape, np.float32), np.zeros(shape, np.float32)

    @property
    def resident_bytes(self) -> int:
        return self.keys.nbytes + self.values.nbytes

    def reserve(self, num_tokens: int) -> None:
        missing = num_tokens - self.keys.shape[1]
        if missing > 0:
            room = ((0, 0), (0, max(missing, 64)), (0, 0), (0, 0))
            self.keys, self.values = np.pad(self.keys, room), np.pad(self.values, room)

    def copy(self, num_tokens: int) -> ReferenceCache:
        other = ReferenceCache(self.config)
        other.keys, other.values = self.keys[:, :num_tokens].copy(), self.values[:, :num_tokens].copy()
        return other

    def close(self) -> None:
        self.keys = self.values = np.zeros((0, 0, 0, 0), np.float32)


class ReferenceCompute:
    """A Compute over dense weights."""

    exactness = Exactness.BITWISE
    prefill_chunk = 64
    row_share = 1.0

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.config = checkpoint.config
        self.embedding = dense(checkpoint.tensor("embedding"))
        self.head = self.embedding if self.config.tied_head else dense(checkpoint.tensor("head"))
        self.final_norm = dense(checkpoint.tensor("final_norm"))[0]
        vectors, matrices = layer_names(self.config)
        vectors = [*vectors, *expert_vectors(self.config)]
        self.layers = []
        for index in range(self.config.num_layers):
            weights = {name: dense(checkpoint.tensor(f"layers.{index}.{name}")) for name in vectors + matrices}
            self.layers.append({name: value[0] if name in vectors else value for name, value in weights.items()})

    @property
    def weight_bytes(self) -> int:
        return self.head.nbytes + sum(weight.nbytes for layer in self.layers for weight in layer.values())

    @property
    def bytes_to_fetch(self) -> int:
        return 0

    def counters(self) -> Mapping[str, float]:
        return {}

    def new_cache(self) -> ReferenceCache:
        return ReferenceCache(self.config)

    def embed(self, batch: Batch) -> np.ndarray:
        return self.embedding[batch.token_ids] * np.float32(self.config.embedding_scale)

    def layer(self, index: int, x_BD: np.ndarray, batch: Batch) -> np.ndarray:
        config, weights = self.config, self.layers[index]
        normed_BD = rms_norm(x_BD, weights["attention_norm"], config.norm_epsilon)
        attended_BD = self._linear(index, "attention_out", self._attention(index, normed_BD, batch), batch)
        if config.post_norms:
            attended_BD = rms_norm(attended_BD, weights["post_attention_norm"], config.norm_epsilon)
        x_BD = x_BD + attended_BD
        normed_BD = rms_norm(x_BD, weights["ffn_norm"], config.norm_epsilon)
        fed_BD = self._experts(normed_BD, weights) if config.num_experts else self._fed(index, normed_BD, batch)
        if config.post_norms:
            fed_BD = rms_norm(fed_BD, weights["post_ffn_norm"], config.norm_epsilon)
        return x_BD + fed_BD

    def _linear(self, index: int, name: str, x_BD: np.ndarray, batch: Batch) -> np.ndarray:
        """The layer's matrix, its bias, and what each sequence's adapter adds."""
        weights = self.layers[index]
        y_BN = linear(x_BD, weights[name]) + weights.get(f"{name}_bias", 0)
        for segment in batch.segments:
            part = layer_parts(self.config, segment.adapter, index).get(name) if segment.adapter else None
            if part is not None:
                y_BN[segment.rows] += low_rank(x_BD[segment.rows], part)
        return y_BN

    def _fed(self, index: int, x_BD: np.ndarray, batch: Batch) -> np.ndarray:
        gate, up = (self._linear(index, name, x_BD, batch) for name in ("gate", "up"))
        return self._linear(index, "down", self._activated(gate, up), batch)

    def _activated(self, gate: np.ndarray, up: np.ndarray) -> np.ndarray:
        if self.config.activation == "clamped_swiglu":
            return clamped_swiglu(gate, up, self.config.swiglu_limit)
        return (silu(gate) if self.config.activation == "silu" else gelu_tanh(gate)) * up

    def _expert(self, x_BD: np.ndarray, weights: Mapping[str, np.ndarray], prefix: str) -> np.ndarray:
        gate, up = (
            linear(x_BD, weights[prefix + name]) + weights.get(f"{prefix}{name}_bias", 0) for name in ("gate", "up")
        )
        return linear(self._activated(gate, up), weights[prefix + "down"]) + weights.get(f"{prefix}down_bias", 0)

    def _experts(self, x_BD: np.ndarray, weights: Mapping[str, np.ndarray]) -> np.ndarray:
        out = np.zeros_like(x_BD)
        for row, scores in enumerate(linear(x_BD, weights["router"]) + weights.get("router_bias", 0)):
            for expert, share in route(scores, self.config.experts_per_token, self.config.normalise_experts):
                out[row] += share * self._expert(x_BD[row : row + 1], weights, f"experts.{expert}.")[0]
        return out

    def logits(self, x_BD: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return linear(self.hidden(x_BD, rows), self.head)

    def hidden(self, x_BD: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return rms_norm(x_BD[rows], self.final_norm, self.config.norm_epsilon)

    def close(self) -> None:
        self.layers.clear()

    def _attention(self, index: int, x_BD: np.ndarray, batch: Batch) -> np.ndarray:
        config, weights = self.config, self.layers[index]
        q, k, v = (self._linear(index, name, x_BD, batch) for name in ("q", "k", "v"))
        q_BHW, k_BKW, v_BKW = (part.reshape(len(part), -1, config.head_width) for part in (q, k, v))
        if config.qk_norm:
            q_BHW = rms_norm(q_BHW, weights["q_norm"], config.norm_epsilon)
            k_BKW = rms_norm(k_BKW, weights["k_norm"], config.norm_epsilon)
        angles = batch.positions[:, None] * np.asarray(config.inverse_frequencies(index), np.float64)
        q_BHW, k_BKW = rotate(q_BHW, angles), rotate(k_BKW, angles)
        out = np.empty_like(q_BHW)
        for segment in batch.segments:
            span = slice(segment.start_position, segment.end_position)
            segment.cache.keys[index, span] = k_BKW[segment.rows]
            segment.cache.values[index, span] = v_BKW[segment.rows]
            for row in range(segment.first_row, segment.first_row + segment.num_rows):
                end = int(batch.positions[row]) + 1
                first = max(0, end - config.window(index)) if config.window(index) else 0
                keys, values = segment.cache.keys[index, first:end], segment.cache.values[index, first:end]
                out[row] = attend(q_BHW[row], keys, values, config.query_scale, weights.get("sinks"))
        return out.reshape(len(out), -1)


def linear(x_BD: np.ndarray, weight_ND: np.ndarray) -> np.ndarray:
    """A product per row: a row's bits must not depend on its neighbours."""
    return np.stack([weight_ND @ row for row in x_BD])


def low_rank(x_BD: np.ndarray, part: LowRank) -> np.ndarray:
    """What an adapter adds to a matrix's product (LoRA, arXiv 2106.09685), row by row as well."""
    a, b = part.dense()
    return np.float32(part.scale) * linear(linear(x_BD, a), b)


def rms_norm(x: np.ndarray, weight: np.ndarray, epsilon: float) -> np.ndarray:
    mean_square = np.mean(np.square(x), axis=-1, keepdims=True, dtype=np.float32)
    return x / np.sqrt(mean_square + np.float32(epsilon)) * weight


def silu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))


def clamped_swiglu(gate: np.ndarray, up: np.ndarray, limit: float) -> np.ndarray:
    """gpt-oss: gates are clamped from above only."""
    gate, up = np.minimum(gate, np.float32(limit)), np.clip(up, np.float32(-limit), np.float32(limit))
    return gate / (1 + np.exp(np.float32(-SWIGLU_ALPHA) * gate)) * (up + 1)


def gelu_tanh(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def rotate(x_BHW: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Rotary embedding (RoFormer, arXiv 2104.09864), first half against second half. angles: [B, W / 2]."""
    cos, sin = (f(angles).astype(np.float32)[:, None] for f in (np.cos, np.sin))
    first, second = np.split(x_BHW, 2, axis=-1)
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


def attend(
    q_HW: np.ndarray, keys_SKW: np.ndarray, values_SKW: np.ndarray, scale: float, sinks_H: np.ndarray | None = None
) -> np.ndarray:
    """Softmax attention of one position over its keys; query heads h // G share key head. A sink is one more score."""
    num_kv_heads = keys_SKW.shape[1]
    q_KGW = q_HW.reshape(num_kv_heads, -1, q_HW.shape[-1])
    scores_KGS = np.einsum("kgw,skw->kgs", q_KGW, keys_SKW) * np.float32(scale)
    largest = scores_KGS.max(-1, keepdims=True)
    if sinks_H is not None:
        sinks_KG1 = sinks_H.reshape(num_kv_heads, -1, 1)
        largest = np.maximum(largest, sinks_KG1)
    weights = np.exp(scores_KGS - largest)
    weights /= weights.sum(-1, keepdims=True) + (0 if sinks_H is None else np.exp(sinks_KG1 - largest))
    return np.einsum("kgs,skw->kgw", weights, values_SKW).reshape(q_HW.shape)
