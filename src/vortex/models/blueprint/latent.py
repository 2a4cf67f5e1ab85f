"""Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434), in its absorbed form: one compressed key per position.

A position is remembered as `latent_width` numbers after their norm and `rotary_width` rotated ones, shared by all
heads. Queries are brought into the latent space by the key half of the up-projection, and what attention gathers there
is brought back by the value half. So the cache is a fraction of that of full heads, and so are its reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vortex.models.blueprint.blocks import Call, Shapes
from vortex.models.blueprint.rows import rms_norm, rotate, softmax
from vortex.models.blueprint.slots import KeyValueSlot, Slot


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentAttention:
    """plain_width: of a head's part without rotation. query_rank: of the compressed query, 0: none.

    Matrices: q (or q_down and q_up), latent, latent_rotary, attention_out; key_up and value_up stay in float32, head by
    head: [heads, plain_width, latent_width] and [heads, value_width, latent_width]. bias: of the down-projections.
    rotary_scale: of the rotated part of a score, beside `scale` (YaRN lengthens only that). inner_epsilon: of the norms
    of what is compressed.
    """

    kind: ClassVar[str] = "latent_attention"
    heads: int
    plain_width: int
    rotary_width: int
    value_width: int
    latent_width: int
    scale: float
    rotation: str
    query_rank: int = 0
    rotary_scale: float = 1.0
    inner_epsilon: float = 1e-6
    neighbours: bool = True
    bias: bool = False
    out_bias: bool = False

    def shapes(self, width: int) -> Shapes:
        query_width = self.heads * (self.plain_width + self.rotary_width)
        found: dict[str, tuple[int, int]] = {}
        if self.query_rank:
            found |= {"q_down": (self.query_rank, width), "q_down_norm": (1, self.query_rank)}
            found |= {"q_up": (query_width, self.query_rank)}
        else:
            found |= {"q": (query_width, width)}
        found |= {"latent": (self.latent_width, width), "latent_rotary": (self.rotary_width, width)}
        found |= {"latent_norm": (1, self.latent_width)}
        found |= {"key_up": (1, self.heads * self.plain_width * self.latent_width)}
        found |= {"value_up": (1, self.heads * self.value_width * self.latent_width)}
        found |= {"attention_out": (width, self.heads * self.value_width)}
        if self.bias:
            found |= {
                f"{name}_bias": (1, found[name][0]) for name in ("q_down", "latent", "latent_rotary") if name in found
            }
        return {**found, **({"attention_out_bias": (1, width)} if self.out_bias else {})}

    def slots(self) -> Mapping[str, Slot]:
        return {"latent": KeyValueSlot(1, self.latent_width, self.rotary_width)}

    def run(self, x_BD: np.ndarray, call: Call) -> np.ndarray:
        weights, angles = call.weights, call.angles[self.rotation]
        key_up = weights.vector("key_up").reshape(self.heads, self.plain_width, self.latent_width)
        value_up = weights.vector("value_up").reshape(self.heads, self.value_width, self.latent_width)
        q_BHW = self._queries(x_BD, call)
        turned_BHR = rotate(q_BHW[..., self.plain_width :], angles, neighbours=self.neighbours)
        latent_BL = rms_norm(self._down("latent", x_BD, call), weights.vector("latent_norm"), self.inner_epsilon)
        key_B1R = rotate(self._down("latent_rotary", x_BD, call)[:, None], angles, neighbours=self.neighbours)
        out = np.empty((len(x_BD), self.heads * self.value_width), np.float32)
        for segment in call.batch.segments:
            slot = call.slot(segment, "latent")
            assert isinstance(slot, KeyValueSlot), "a latent and its rotated key"
            place = slice(segment.start_position, segment.end_position)
            slot.keys[0, place], slot.values[0, place] = latent_BL[segment.rows], key_B1R[segment.rows, 0]
            for row in range(segment.first_row, segment.first_row + segment.num_rows):
                end = int(call.batch.positions[row]) + 1
                latents_SL, turned_SR = slot.keys[0, :end], slot.values[0, :end]
                q_HL = np.matmul(q_BHW[row, :, None, : self.plain_width], key_up)[:, 0]
                turned_HS = (turned_BHR[row] @ turned_SR.T) * np.float32(self.rotary_scale)
                scores_HS = (q_HL @ latents_SL.T + turned_HS) * np.float32(self.scale)
                gathered_HL = softmax(scores_HS) @ latents_SL
                out[row] = np.matmul(value_up, gathered_HL[..., None]).ravel()
        product = weights.product("attention_out", out)
        return product + weights.vector("attention_out_bias") if self.out_bias else product

    def _queries(self, x_BD: np.ndarray, call: Call) -> np.ndarray:
        if self.query_rank:
            down = self._down("q_down", x_BD, call)
            q = call.weights.product("q_up", rms_norm(down, call.weights.vector("q_down_norm"), self.inner_epsilon))
        else:
            q = call.weights.product("q", x_BD)
        return q.reshape(len(q), self.heads, -1)

    def _down(self, name: str, x_BD: np.ndarray, call: Call) -> np.ndarray:
        rows = call.weights.product(name, x_BD)
        return rows + call.weights.vector(f"{name}_bias") if self.bias else rows
