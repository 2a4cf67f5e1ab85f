"""The decoder's arithmetic in torch: packed 4-bit products in bfloat16, everything else in float32.

B batch rows, D model width, H query heads, K key heads, G = H / K, W head width, S keys.

Measured (docs/decisions/0003): bfloat16 attention and residuals are slower on a CPU and less exact, so bfloat16 is
used only where the packed product demands it. Exactness: a product's rows are bit-identical for any batch, and
attention's shape depends on its own span alone, so a request's bits do not depend on its neighbours; but a prompt cut
elsewhere rounds elsewhere, hence `prefill_chunk` (see compute.py). Anywhere but on a CPU the same code multiplies
dense bfloat16 matrices: unpacked once where all weights fit, else for each use, from packed rows on the device.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from gguf.constants import GGMLQuantizationType
from gguf.quants import dequantize

from vortex.c3.sources import Lease, WeightSource, expert_unit, units_of
from vortex.models.decoder.compute import Batch, Segment
from vortex.models.decoder.expert_router import route, rows_of
from vortex.models.decoder.torch_adapter import TorchAdapters
from vortex.models.decoder.torch_cache import TorchCache
from vortex.models.decoder.torch_linear import PackedLinear, RowGroups, as_tensor
from vortex.models.decoder.torch_pack import unit_names
from vortex.models.files.checkpoint import layer_names
from vortex.models.files.decoder_config import SWIGLU_ALPHA, DecoderConfig
from vortex.types import Exactness


class TorchCompute:
    """A Compute over weights packed by torch_pack, resident or paged."""

    exactness = Exactness.ARGMAX
    prefill_chunk = 128
    row_share = 0.35

    def __init__(
        self, config: DecoderConfig, source: WeightSource, *, device: str = "cpu", unpack_trunk: bool = False
    ) -> None:
        """unpack_trunk: what lasts is made dense once, where memory allows."""
        self.config, self.source = config, source
        self.device = torch.device(device)
        self.adapters = TorchAdapters(config, self.device)
        vectors, _ = layer_names(config)
        self.norms = []
        for index in range(config.num_layers):
            norms = {name: self._vector(f"layers.{index}.{name}") for name in vectors}
            if config.qkv_bias:
                norms["qkv_bias"] = torch.cat([norms[name] for name in ("q_bias", "k_bias", "v_bias")])
            if config.num_experts:
                norms["router"] = self._vector(f"layers.{index}.router").view(config.num_experts, config.width)
            self.norms.append(norms)
        self.final_norm = self._vector("final_norm")
        units = units_of(source.entries)
        missing = [name for name in unit_names(config) if name not in units]
        assert not missing, f"the folder has no {missing[:1]}"
        self.weight_bytes = sum(entry.num_bytes for parts in units.values() for entry in parts)
        self.resident: dict[str, PackedLinear] = {}  # every unit but experts where nothing is fetched
        if not source.bytes_to_fetch:
            for unit in (unit for unit in units if not expert_unit(unit)):
                with source.lease(unit) as lease:
                    self.resident[unit] = PackedLinear(source.entries, lease.views, self.device, unpack=True)
        self._pinned: dict[str, PackedLinear] = {}
        self._unpack_trunk = unpack_trunk
        entry = source.entries["embedding"]
        self.embedding_type = GGMLQuantizationType[entry.layout.removeprefix("ggml_")]
        self.embedding = source.read("embedding").reshape(config.vocab_size, -1)
        self.inverse_frequencies = [
            torch.tensor(config.inverse_frequencies(index), dtype=torch.float64, device=self.device)
            for index in range(config.num_layers)
        ]
        self._angles: dict[bool, tuple[torch.Tensor, torch.Tensor]] = {}
        self._masks: dict[tuple[int, int, int], torch.Tensor] = {}

    @property
    def bytes_to_fetch(self) -> int:
        return 0 if self.resident else self.source.bytes_to_fetch

    def counters(self) -> Mapping[str, float]:
        return self.source.counters()

    def new_cache(self) -> TorchCache:
        return TorchCache(self.config, self.device)

    @torch.inference_mode()
    def embed(self, batch: Batch) -> torch.Tensor:
        rows = dequantize(self.embedding[batch.token_ids], self.embedding_type).astype(np.float32, copy=False)
        self._angles.clear()
        self._masks.clear()
        return torch.from_numpy(rows * np.float32(self.config.embedding_scale)).to(self.device)

    @torch.inference_mode()
    def layer(self, index: int, x_BD: torch.Tensor, batch: Batch) -> torch.Tensor:
        config, norms, prefix = self.config, self.norms[index], f"layers.{index}."
        groups = [segment.rows for segment in batch.segments]
        normed_BD = self._norm(x_BD, norms["attention_norm"])
        add = self.adapters.add
        qkv_BN = add(index, "qkv", normed_BD, self._product(prefix + "qkv", normed_BD, groups), batch)
        heads_BD = self._attention(index, qkv_BN, batch)
        attended_BD = self._product(prefix + "attention_out", heads_BD, groups)
        attended_BD = add(index, "attention_out", heads_BD, attended_BD, batch)
        if config.attention_out_bias:
            attended_BD = attended_BD + norms["attention_out_bias"]
        if config.post_norms:
            attended_BD = self._norm(attended_BD, norms["post_attention_norm"])
        x_BD = x_BD + attended_BD
        normed_BD = self._norm(x_BD, norms["ffn_norm"])
        if config.num_experts:
            fed_BD = self._experts(index, normed_BD)
        else:
            gate_up_BN = add(index, "gate_up", normed_BD, self._product(prefix + "gate_up", normed_BD, groups), batch)
            activated = self._activated(gate_up_BN)
            fed_BD = add(index, "down", activated, self._product(prefix + "down", activated, groups), batch)
        if config.post_norms:
            fed_BD = self._norm(fed_BD, norms["post_ffn_norm"])
        return x_BD + fed_BD

    @torch.inference_mode()
    def logits(self, x_BD: torch.Tensor, rows: np.ndarray) -> np.ndarray:
        normed = self._norm(x_BD[torch.from_numpy(rows).to(self.device)], self.final_norm)
        alone: RowGroups = [slice(row, row + 1) for row in range(len(rows))]
        return self._product("head", normed, alone).cpu().numpy()

    @torch.inference_mode()
    def hidden(self, x_BD: torch.Tensor, rows: np.ndarray) -> np.ndarray:
        return self._norm(x_BD[torch.from_numpy(rows).to(self.device)], self.final_norm).cpu().numpy()

    def close(self) -> None:
        self.resident.clear()
        self._pinned.clear()
        self.source.close()

    def _product(self, unit: str, x_BD: torch.Tensor, groups: RowGroups) -> torch.Tensor:
        """float32 [B, rows of the unit], its weights leased for the time of the product."""
        x_BD = x_BD.bfloat16()
        if unit in self.resident:
            return self.resident[unit](x_BD, groups).float()
        with self.source.lease(unit) as lease:
            linear = self._pinned.get(unit)
            if linear is None:
                unpack = self._unpack_trunk and lease.lasts
                linear = PackedLinear(self.source.entries, lease.views, self.device, unpack=unpack)
            if lease.lasts:
                self._pinned[unit] = linear
            return linear(x_BD, groups).float()

    def _activated(self, gate_up: torch.Tensor) -> torch.Tensor:
        gate, up = gate_up.split(self.config.ffn_width, dim=-1)
        if self.config.activation == "clamped_swiglu":
            limit = self.config.swiglu_limit
            gate, up = gate.clamp(max=limit), up.clamp(-limit, limit)
            return gate * torch.sigmoid(SWIGLU_ALPHA * gate) * (up + 1)
        activated = F.silu(gate) if self.config.activation == "silu" else F.gelu(gate, approximate="tanh")
        return activated.mul_(up)

    def _experts(self, index: int, x_BD: torch.Tensor) -> torch.Tensor:
        """Each expert sees its rows as they come, in ascending order of experts: a row's bits are its own affair."""
        config, router = self.config, self.norms[index]["router"]
        bias = self.norms[index]["router_bias"] if config.expert_biases else 0
        scores = [(torch.mv(router, row) + bias).cpu().numpy() for row in x_BD]
        routes = [route(each, config.experts_per_token, config.normalise_experts) for each in scores]
        x_bf16, out_BD = x_BD.bfloat16(), torch.zeros_like(x_BD)
        taken = [[expert for expert, _ in each] for each in routes]
        for expert, lease in self.source.experts(index, taken):
            prefix = f"layers.{index}.experts.{expert}."
            gate_up, down = (self._expert_part(lease, prefix + name) for name in ("gate_up", "down"))
            rows, shares = rows_of(expert, routes)
            alone = [slice(row, row + 1) for row in range(len(rows))]
            gate_up_bias, down_bias = self._expert_biases(lease, f"{prefix}biases.0")
            activated = self._activated(gate_up(x_bf16[rows], alone).float() + gate_up_bias)
            fed = down(activated.bfloat16(), alone).float() + down_bias
            out_BD[rows] += fed * torch.from_numpy(shares).to(self.device)[:, None]
        return out_BD

    def _expert_biases(self, lease: Lease, name: str) -> tuple[Any, Any]:
        """Of gate and up together, and of down; zeros where the model has none."""
        if not self.config.expert_biases:
            return 0.0, 0.0
        biases = as_tensor(lease.views[name], self.device).view(torch.float32)
        return biases[: 2 * self.config.ffn_width], biases[2 * self.config.ffn_width :]

    def _expert_part(self, lease: Lease, name: str) -> PackedLinear:
        views = {part: view for part, view in lease.views.items() if part.startswith(name)}
        return PackedLinear(self.source.entries, views, self.device)

    def _vector(self, name: str) -> torch.Tensor:
        vector = torch.from_numpy(self.source.read(name).view(np.float32).copy())
        return (vector * len(vector) ** 0.5 if name.endswith("norm") else vector).to(self.device)

    def _norm(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """RMS norm with sqrt(width) folded into the weight: a third of the time of torch's own on a CPU."""
        squares = x.square().sum(-1, keepdim=True).add_(x.shape[-1] * self.config.norm_epsilon)
        return (x * squares.rsqrt_()).mul_(weight)

    def _attention(self, index: int, qkv: torch.Tensor, batch: Batch) -> torch.Tensor:
        config, norms = self.config, self.norms[index]
        if config.qkv_bias:
            qkv = qkv + norms["qkv_bias"]
        qkv_BNW = qkv.view(len(qkv), -1, config.head_width)
        num_rotated = config.num_heads + config.num_kv_heads
        qk_BNW, v_BKW = qkv_BNW[:, :num_rotated], qkv_BNW[:, num_rotated:]
        if config.qk_norm:
            q, k = qk_BNW.split([config.num_heads, config.num_kv_heads], dim=1)
            qk_BNW = torch.cat([self._norm(q, norms["q_norm"]), self._norm(k, norms["k_norm"])], dim=1)
        qk_BNW = self._rotated(index, qk_BNW, batch)
        q_BHW, k_BKW = qk_BNW[:, : config.num_heads], qk_BNW[:, config.num_heads :]
        outputs = []
        for segment in batch.segments:
            keys, values = segment.cache.keys[index], segment.cache.values[index]
            keys[:, segment.start_position : segment.end_position] = k_BKW[segment.rows].transpose(0, 1)
            values[:, segment.start_position : segment.end_position] = v_BKW[segment.rows].transpose(0, 1)
            outputs.append(self._attend(q_BHW[segment.rows], keys, values, segment, index))
        return (outputs[0] if len(outputs) == 1 else torch.cat(outputs)).bfloat16()

    def _rotated(self, index: int, x_BNW: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Rotary embedding, first half against second half; the angles are shared by all layers of a kind."""
        local = self.config.is_local(index)
        if local not in self._angles:
            positions = torch.from_numpy(batch.positions).to(self.device, torch.float64)
            angles = positions[:, None, None] * self.inverse_frequencies[index]
            cos, sin = angles.cos().float(), angles.sin().float()
            self._angles[local] = torch.cat([cos, cos], -1), torch.cat([-sin, sin], -1)
        cos, sin = self._angles[local]
        half = x_BNW.shape[-1] // 2
        return x_BNW * cos + torch.roll(x_BNW, half, dims=-1) * sin

    def _attend(
        self, q_THW: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, segment: Segment, index: int
    ) -> torch.Tensor:
        """float32 [T, H * W]. Query heads of one key head are stacked as rows, so keys are never repeated."""
        config, num_rows = self.config, segment.num_rows
        window = config.window(index)
        first = max(0, segment.start_position + 1 - window) if window else 0
        keys_KSW, values_KSW = (part[None, :, first : segment.end_position] for part in (keys, values))
        q_KGTW = q_THW.transpose(0, 1).reshape(1, config.num_kv_heads, config.group_size * num_rows, -1)
        mask = self._mask(segment, first, window) if num_rows > 1 else None
        if config.attention_sinks:
            sinks_KR1 = self.norms[index]["sinks"].repeat_interleave(num_rows).view(1, config.num_kv_heads, -1, 1)
            out = attend_with_sinks(q_KGTW * config.query_scale, keys_KSW, values_KSW, mask, sinks_KR1)
        else:
            out = F.scaled_dot_product_attention(q_KGTW, keys_KSW, values_KSW, attn_mask=mask, scale=config.query_scale)
        return out.reshape(config.num_heads, num_rows, -1).transpose(0, 1).reshape(num_rows, -1)

    def _mask(self, segment: Segment, first: int, window: int) -> torch.Tensor:
        """Additive float32 [G * T, S]: minus infinity for keys of the future and behind the window."""
        key = (segment.first_row, first, window)
        if key not in self._masks:
            queries = torch.arange(segment.start_position, segment.end_position, device=self.device)[:, None]
            keys = torch.arange(first, segment.end_position, device=self.device)[None]
            hidden = keys > queries
            if window:
                hidden = hidden | (keys <= queries - window)
            mask = torch.zeros(hidden.shape, device=self.device).masked_fill_(hidden, float("-inf"))
            self._masks[key] = mask.repeat(self.config.group_size, 1)
        return self._masks[key]


def attend_with_sinks(
    q_KRW: torch.Tensor,
    keys_KSW: torch.Tensor,
    values_KSW: torch.Tensor,
    mask_RS: torch.Tensor | None,
    sinks_KR1: torch.Tensor,
) -> torch.Tensor:
    """Softmax attention of scaled queries in which every row has one more score, its sink, that brings no value."""
    scores_KRS = q_KRW @ keys_KSW.transpose(-1, -2)
    if mask_RS is not None:
        scores_KRS = scores_KRS + mask_RS
    largest_KR1 = torch.maximum(scores_KRS.amax(-1, keepdim=True), sinks_KR1)
    weights_KRS = torch.exp(scores_KRS - largest_KR1)
    total_KR1 = weights_KRS.sum(-1, keepdim=True) + torch.exp(sinks_KR1 - largest_KR1)
    return weights_KRS @ values_KSW / total_KR1
