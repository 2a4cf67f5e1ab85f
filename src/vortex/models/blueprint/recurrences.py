"""Blocks that remember a state of fixed size: the gated delta rule, Mamba 2, and a short convolution.

All run row by row in float32, so that a prompt in chunks, a token alone and a replay give the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from vortex.models.blueprint.blocks import Call, Shapes
from vortex.models.blueprint.rows import rms_norm, sigmoid, silu, softplus, unit_length
from vortex.models.blueprint.slots import RecurrentSlot, Slot, State

LENGTH_EPSILON = 1e-6  # under the root of a key's length


def convolved(tail_TC: np.ndarray, rows_BC: np.ndarray, kernel_CT: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each channel over its last positions, the tail before the rows included; (outputs [B, C], the new tail)."""
    all_rows = np.concatenate([tail_TC, rows_BC])
    taps = kernel_CT.shape[1]
    out = np.zeros_like(rows_BC)
    for tap in range(taps):
        out += all_rows[tap : tap + len(rows_BC)] * kernel_CT[:, tap]
    return out, all_rows[len(all_rows) - (taps - 1) :]


def _run(block_slot: str, call: Call, inputs: State, advance: partial[tuple[np.ndarray, State]]) -> np.ndarray:
    """Every segment through its own state; outputs [B, …]."""
    outputs = []
    for segment in call.batch.segments:
        slot = call.slot(segment, block_slot)
        assert isinstance(slot, RecurrentSlot), "a recurrence remembers a state"
        outputs.append(slot.run(tuple(one[segment.rows] for one in inputs), advance))
    return np.concatenate(outputs)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeltaRule:
    """Gated delta rule (arXiv 2412.06464) with a convolution before it and a gated norm behind it.

    Matrices: delta_qkv (queries, keys, values of all heads), delta_gate, delta_out; delta_beta and delta_decay, a row
    per value head. Vectors: delta_kernel [channels, taps], delta_time (bias), delta_rate (what decays, positive),
    delta_norm. tiled: value head h belongs to key head h mod key_heads, else to h // (value_heads / key_heads).
    """

    kind: ClassVar[str] = "delta_rule"
    key_heads: int
    value_heads: int
    key_width: int
    value_width: int
    taps: int
    tiled: bool = False

    @property
    def channels(self) -> int:
        return 2 * self.key_heads * self.key_width + self.value_heads * self.value_width

    def shapes(self, width: int) -> Shapes:
        values = self.value_heads * self.value_width
        return {
            "delta_qkv": (self.channels, width),
            "delta_gate": (values, width),
            "delta_beta": (self.value_heads, width),
            "delta_decay": (self.value_heads, width),
            "delta_kernel": (1, self.channels * self.taps),
            "delta_time": (1, self.value_heads),
            "delta_rate": (1, self.value_heads),
            "delta_norm": (1, self.value_width),
            "delta_out": (width, values),
        }

    def slots(self) -> Mapping[str, Slot]:
        tail = np.zeros((self.taps - 1, self.channels), np.float32)
        return {
            "delta": RecurrentSlot((tail, np.zeros((self.value_heads, self.key_width, self.value_width), np.float32)))
        }

    def run(self, x_BD: np.ndarray, call: Call) -> np.ndarray:
        weights = call.weights
        beta_BV = sigmoid(weights.product("delta_beta", x_BD))
        time = softplus(weights.product("delta_decay", x_BD) + weights.vector("delta_time"))
        decay_BV = np.exp(-weights.vector("delta_rate") * time)
        kernel = weights.vector("delta_kernel").reshape(self.channels, self.taps)
        inputs = (weights.product("delta_qkv", x_BD), beta_BV, decay_BV)
        out_BVW = _run("delta", call, inputs, partial(self._advance, kernel))
        gate_BVW = weights.product("delta_gate", x_BD).reshape(out_BVW.shape)
        normed = rms_norm(out_BVW, weights.vector("delta_norm"), call.epsilon) * silu(gate_BVW)
        return weights.product("delta_out", normed.reshape(len(x_BD), -1))

    def _advance(self, kernel_CT: np.ndarray, state: State, inputs: State) -> tuple[np.ndarray, State]:
        (tail, matrix), (rows_BC, beta_BV, decay_BV) = state, inputs
        mixed, tail = convolved(tail, rows_BC, kernel_CT)
        mixed = silu(mixed)
        keys = self.key_heads * self.key_width
        shape = (len(mixed), self.key_heads, self.key_width)
        q_BKW = unit_length(mixed[:, :keys].reshape(shape), LENGTH_EPSILON) * np.float32(self.key_width**-0.5)
        k_BKW = unit_length(mixed[:, keys : 2 * keys].reshape(shape), LENGTH_EPSILON)
        v_BVW = mixed[:, 2 * keys :].reshape(len(mixed), self.value_heads, self.value_width)
        share = self.value_heads // self.key_heads
        head = np.arange(self.value_heads) % self.key_heads if self.tiled else np.arange(self.value_heads) // share
        q_BVK, k_BVK = q_BKW[:, head], k_BKW[:, head]
        matrix, out = matrix.copy(), np.empty_like(v_BVW)
        for row in range(len(mixed)):
            matrix *= decay_BV[row, :, None, None]
            recalled = np.matmul(k_BVK[row, :, None], matrix)[:, 0]
            change = (v_BVW[row] - recalled) * beta_BV[row, :, None]
            matrix += k_BVK[row, :, :, None] * change[:, None]
            out[row] = np.matmul(q_BVK[row, :, None], matrix)[:, 0]
        return out, (tail, matrix)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortConvolution:
    """LFM2's: a gated convolution over a few positions (no softmax, no growing cache).

    Matrices: conv_in (three parts: before, after, rows), conv_out. Vector: conv_kernel [width, taps].
    """

    kind: ClassVar[str] = "short_convolution"
    taps: int
    channels: int
    bias: bool = False

    def shapes(self, width: int) -> Shapes:
        found = {"conv_in": (3 * self.channels, width), "conv_out": (width, self.channels)}
        found |= {"conv_kernel": (1, self.channels * self.taps)}
        biases = {"conv_in_bias": (1, 3 * self.channels), "conv_out_bias": (1, width), "conv_bias": (1, self.channels)}
        return {**found, **(biases if self.bias else {})}

    def slots(self) -> Mapping[str, Slot]:
        return {"conv": RecurrentSlot((np.zeros((self.taps - 1, self.channels), np.float32),))}

    def run(self, x_BD: np.ndarray, call: Call) -> np.ndarray:
        weights = call.weights
        parts = weights.product("conv_in", x_BD)
        if self.bias:
            parts = parts + weights.vector("conv_in_bias")
        before, after, rows = np.split(parts, 3, axis=-1)
        kernel = weights.vector("conv_kernel").reshape(self.channels, self.taps)
        out = _run("conv", call, (before * rows,), partial(self._advance, kernel))
        if self.bias:
            out = out + weights.vector("conv_bias")
        product = weights.product("conv_out", after * out)
        return product + weights.vector("conv_out_bias") if self.bias else product

    @staticmethod
    def _advance(kernel_CT: np.ndarray, state: State, inputs: State) -> tuple[np.ndarray, State]:
        out, tail = convolved(state[0], inputs[0], kernel_CT)
        return out, (tail,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mamba2:
    """State-space duality (arXiv 2405.21060), token by token.

    Matrices: mamba_in (gate, then channels = values and two groups of keys, then a step per head), mamba_out. Vectors:
    mamba_kernel [channels, taps], mamba_bias, mamba_time (bias of the steps), mamba_rate (what decays, positive),
    mamba_skip, mamba_norm. norm_groups: parts that the norm looks at apart, 0: no norm. norm_first: the norm comes
    before the gate. steps: least and greatest.
    """

    kind: ClassVar[str] = "mamba2"
    heads: int
    head_width: int
    groups: int
    state_width: int
    taps: int
    bias: bool = True
    norm_groups: int = 1
    norm_first: bool = False
    steps: tuple[float, float] = (0.0, 3.4e38)
    out_bias: bool = False

    @property
    def inner(self) -> int:
        return self.heads * self.head_width

    @property
    def channels(self) -> int:
        return self.inner + 2 * self.groups * self.state_width

    def shapes(self, width: int) -> Shapes:
        found = {
            "mamba_in": (self.inner + self.channels + self.heads, width),
            "mamba_kernel": (1, self.channels * self.taps),
            "mamba_time": (1, self.heads),
            "mamba_rate": (1, self.heads),
            "mamba_skip": (1, self.heads),
            "mamba_out": (width, self.inner),
        }
        found |= {"mamba_norm": (1, self.inner)} if self.norm_groups else {}
        found |= {"mamba_bias": (1, self.channels)} if self.bias else {}
        if self.out_bias:
            found |= {"mamba_in_bias": (1, self.inner + self.channels + self.heads), "mamba_out_bias": (1, width)}
        return found

    def slots(self) -> Mapping[str, Slot]:
        tail = np.zeros((self.taps - 1, self.channels), np.float32)
        return {"mamba": RecurrentSlot((tail, np.zeros((self.heads, self.head_width, self.state_width), np.float32)))}

    def run(self, x_BD: np.ndarray, call: Call) -> np.ndarray:
        weights = call.weights
        parts = weights.product("mamba_in", x_BD)
        if self.out_bias:
            parts = parts + weights.vector("mamba_in_bias")
        gate, rows, steps = np.split(parts, [self.inner, self.inner + self.channels], axis=-1)
        least, greatest = (np.float32(step) for step in self.steps)
        steps = np.clip(softplus(steps + weights.vector("mamba_time")), least, greatest)
        kernel = weights.vector("mamba_kernel").reshape(self.channels, self.taps)
        bias = weights.vector("mamba_bias") if self.bias else np.zeros(self.channels, np.float32)
        fixed = (kernel, bias, weights.vector("mamba_rate"), weights.vector("mamba_skip"))
        out = _run("mamba", call, (rows, steps), partial(self._advance, fixed))
        product = weights.product("mamba_out", self._normed(out, gate, call))
        return product + weights.vector("mamba_out_bias") if self.out_bias else product

    def _normed(self, out: np.ndarray, gate: np.ndarray, call: Call) -> np.ndarray:
        if not self.norm_groups:
            return out * silu(gate)
        mixed = out if self.norm_first else out * silu(gate)
        grouped = rms_norm(mixed.reshape(len(mixed), self.norm_groups, -1), None, call.epsilon)
        normed = grouped.reshape(mixed.shape) * call.weights.vector("mamba_norm")
        return normed * silu(gate) if self.norm_first else normed

    def _advance(self, fixed: State, state: State, inputs: State) -> tuple[np.ndarray, State]:
        """fixed: the kernel, its bias, what decays, and what skips the state."""
        kernel, bias, rate, skip = fixed
        (tail, memory), (rows, steps_BH) = state, inputs
        mixed, tail = convolved(tail, rows, kernel)
        mixed = silu(mixed + bias)
        keys = self.groups * self.state_width
        values_BHW = mixed[:, : self.inner].reshape(len(mixed), self.heads, self.head_width)
        group = np.arange(self.heads) // (self.heads // self.groups)
        shape = (len(mixed), self.groups, self.state_width)
        write_BHN = mixed[:, self.inner : self.inner + keys].reshape(shape)[:, group]
        read_BHN = mixed[:, self.inner + keys :].reshape(shape)[:, group]
        decay_BH = np.exp(-rate * steps_BH)
        memory, out = memory.copy(), np.empty_like(values_BHW)
        for row in range(len(mixed)):
            memory *= decay_BH[row, :, None, None]
            memory += (steps_BH[row, :, None] * values_BHW[row])[..., None] * write_BHN[row, :, None]
            out[row] = np.matmul(memory, read_BHN[row, :, :, None])[..., 0] + skip[:, None] * values_BHW[row]
        return out.reshape(len(mixed), -1), (tail, memory)
