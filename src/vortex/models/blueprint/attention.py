"""Attention over keys and values of all positions, or of a window: with one block for its many small variants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vortex.models.blueprint.blocks import Call, Shapes
from vortex.models.blueprint.rows import attend, rms_norm, rotate, sigmoid
from vortex.models.blueprint.slots import KeyValueSlot, Slot


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """heads share key heads in order. Matrices: q, k, v, attention_out, and gate_q where it is gated.

    rotation: name of the angles, empty for a layer without. qk_norm: `head` (per head, before rotation), `whole` (over
    all heads together), `plain` (per head, after rotation, without weights), or empty. value_norm: values are
    normalised without weights. shares: the layer whose keys and values this one reads, -1: its own. keys_are_values:
    v is k before its norm. chunk: positions see back to the last multiple of it; 0: no such limit. rotary_scale: of the
    part of a query that turns. tuned_from: positions after which queries grow, step by step, by `tuned_by`; 0: never;
    the position counts from `tuned_first`.
    """

    kind: ClassVar[str] = "attention"
    heads: int
    kv_heads: int
    head_width: int
    scale: float
    window: int = 0
    rotation: str = ""
    neighbours: bool = False
    qk_norm: str = ""
    value_norm: bool = False
    keys_are_values: bool = False
    gated: bool = False
    bias: bool = False
    out_bias: bool = False
    shares: int = -1
    cap: float = 0.0
    chunk: int = 0
    rotary_scale: float = 1.0
    tuned_from: float = 0.0
    tuned_by: float = 0.0
    tuned_first: int = 0

    def shapes(self, width: int) -> Shapes:
        query_width, kv_width = self.heads * self.head_width, self.kv_heads * self.head_width
        own = self.shares < 0
        found: dict[str, tuple[int, int]] = {"q": (query_width, width)}
        found |= {"k": (kv_width, width)} if own else {}
        found |= {"v": (kv_width, width)} if own and not self.keys_are_values else {}
        found |= {"gate_q": (query_width, width)} if self.gated else {}
        found |= {"attention_out": (width, query_width)}
        if self.bias:
            found |= {f"{name}_bias": (1, found[name][0]) for name in ("q", "k", "v") if name in found}
        found |= {"attention_out_bias": (1, width)} if self.out_bias else {}
        if self.qk_norm in {"head", "whole"}:
            whole = self.qk_norm == "whole"
            found["q_norm"] = (1, query_width if whole else self.head_width)
            found |= {"k_norm": (1, kv_width if whole else self.head_width)} if own else {}
        return found

    def slots(self) -> Mapping[str, Slot]:
        return {"kv": KeyValueSlot(self.kv_heads, self.head_width, self.head_width)} if self.shares < 0 else {}

    def run(self, x_BD: np.ndarray, call: Call) -> np.ndarray:
        q_BHW = self._heads("q", self.heads, x_BD, call)
        if self.shares < 0:
            k_BKW, v_BKW = self._keys_and_values(x_BD, call)
        q_BHW = self._grown(self._placed(self._normed("q", q_BHW, call), call), call)
        out = np.empty((len(x_BD), self.heads * self.head_width), np.float32)
        for segment in call.batch.segments:
            slot = call.slot(segment, "kv", self.shares if self.shares >= 0 else None)
            assert isinstance(slot, KeyValueSlot), "attention remembers keys and values"
            if self.shares < 0:
                place = slice(segment.start_position, segment.end_position)
                slot.keys[:, place] = k_BKW[segment.rows].swapaxes(0, 1)
                slot.values[:, place] = v_BKW[segment.rows].swapaxes(0, 1)
            for row in range(segment.first_row, segment.first_row + segment.num_rows):
                end = int(call.batch.positions[row]) + 1
                first = max(0, end - self.window) if self.window else 0
                seen = slice(max(first, (end - 1) // self.chunk * self.chunk) if self.chunk else first, end)
                q_KGW = q_BHW[row].reshape(self.kv_heads, -1, self.head_width)
                out[row] = attend(q_KGW, slot.keys[:, seen], slot.values[:, seen], self.scale, self.cap).ravel()
        if self.gated:
            out *= sigmoid(call.weights.product("gate_q", x_BD))
        return self._biased("attention_out", call.weights.product("attention_out", out), call, biased=self.out_bias)

    def _keys_and_values(self, x_BD: np.ndarray, call: Call) -> tuple[np.ndarray, np.ndarray]:
        k_BKW = self._heads("k", self.kv_heads, x_BD, call)
        v_BKW = k_BKW if self.keys_are_values else self._heads("v", self.kv_heads, x_BD, call)
        if self.value_norm:
            v_BKW = rms_norm(v_BKW, None, call.epsilon)
        return self._placed(self._normed("k", k_BKW, call), call), v_BKW

    def _heads(self, name: str, heads: int, x_BD: np.ndarray, call: Call) -> np.ndarray:
        rows = self._biased(name, call.weights.product(name, x_BD), call, biased=self.bias)
        return rows.reshape(len(rows), heads, self.head_width)

    def _biased(self, name: str, rows: np.ndarray, call: Call, *, biased: bool) -> np.ndarray:
        return rows + call.weights.vector(f"{name}_bias") if biased else rows

    def _normed(self, name: str, x_BHW: np.ndarray, call: Call) -> np.ndarray:
        if self.qk_norm == "head":
            return rms_norm(x_BHW, call.weights.vector(f"{name}_norm"), call.epsilon)
        if self.qk_norm == "whole":
            flat = x_BHW.reshape(len(x_BHW), -1)
            return rms_norm(flat, call.weights.vector(f"{name}_norm"), call.epsilon).reshape(x_BHW.shape)
        return x_BHW

    def _placed(self, x_BHW: np.ndarray, call: Call) -> np.ndarray:
        if self.rotation:
            x_BHW = rotate(x_BHW, call.angles[self.rotation], neighbours=self.neighbours)
        return rms_norm(x_BHW, None, call.epsilon) if self.qk_norm == "plain" else x_BHW

    def _grown(self, q_BHW: np.ndarray, call: Call) -> np.ndarray:
        if self.rotary_scale != 1.0:
            turning = 2 * call.angles[self.rotation].shape[1]
            q_BHW = q_BHW * np.where(np.arange(self.head_width) < turning, self.rotary_scale, 1).astype(np.float32)
        if self.tuned_from:
            steps = np.floor((call.batch.positions + self.tuned_first) / self.tuned_from)
            q_BHW = q_BHW * (np.log1p(steps) * self.tuned_by + 1).astype(np.float32)[:, None, None]
        return q_BHW
