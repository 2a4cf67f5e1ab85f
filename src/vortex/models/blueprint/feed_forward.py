"""Feed-forward blocks: gated or plain, and mixtures of experts with whatever way of choosing a family has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vortex.models.blueprint.blocks import Call, Routes, Shapes
from vortex.models.blueprint.rows import ACTIVATIONS, rms_norm, sigmoid, softmax
from vortex.models.blueprint.slots import Slot


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedForward:
    """Matrices: gate, up, down (without gate where `plain`), their names behind `prefix`."""

    kind: ClassVar[str] = "feed_forward"
    ffn_width: int
    activation: str = "silu"
    plain: bool = False
    bias: bool = False
    prefix: str = ""

    def shapes(self, width: int) -> Shapes:
        found = {} if self.plain else {f"{self.prefix}gate": (self.ffn_width, width)}
        found |= {f"{self.prefix}up": (self.ffn_width, width), f"{self.prefix}down": (width, self.ffn_width)}
        return {**found, **({f"{name}_bias": (1, rows) for name, (rows, _) in found.items()} if self.bias else {})}

    def slots(self) -> Mapping[str, Slot]:
        return {}

    def run(self, x_BD: np.ndarray, call: Call) -> np.ndarray:
        activate = ACTIVATIONS[self.activation]
        up = self._product("up", x_BD, call)
        return self._product(
            "down", activate(up) if self.plain else activate(self._product("gate", x_BD, call)) * up, call
        )

    def _product(self, name: str, x: np.ndarray, call: Call) -> np.ndarray:
        rows = call.weights.product(self.prefix + name, x)
        return rows + call.weights.vector(f"{self.prefix}{name}_bias") if self.bias else rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Experts:
    """`experts.7.gate`, `.up`, `.down`, a router, and beside them (or not) one shared feed-forward for every row.

    scoring: softmax | sigmoid, over all experts; softmax_chosen: over the chosen ones alone. corrected: a bias per
    expert counts for choosing, not for the share. groups, groups_used: experts are chosen within the best groups (of
    which the two best experts are added up, or with `group_best` the best one counts). normalise: shares add up to one,
    before `share_scale` and, where `scaled`, a number of each expert's own (the vector expert_scale). shares_first: a
    share scales what goes into its expert, not what comes out (Llama 4). inner_norm: experts see the rows normalised by
    this vector, the router by none (Gemma 4); empty: both see the rows as they come.
    """

    kind: ClassVar[str] = "experts"
    num_experts: int
    used: int
    ffn_width: int
    shared_width: int = 0
    shared_gated: bool = False
    scoring: str = "softmax"
    corrected: bool = False
    groups: int = 1
    groups_used: int = 1
    group_best: bool = False
    normalise: bool = True
    share_scale: float = 1.0
    shares_first: bool = False
    scaled: bool = False
    inner_norm: str = ""
    activation: str = "silu"

    def shapes(self, width: int) -> Shapes:
        found: dict[str, tuple[int, int]] = {"router": (self.num_experts, width)}
        found |= {self.inner_norm: (1, width)} if self.inner_norm else {}
        found |= {"expert_scale": (1, self.num_experts)} if self.scaled else {}
        found |= {"router_bias": (1, self.num_experts)} if self.corrected else {}
        for expert in range(self.num_experts):
            found |= {f"experts.{expert}.{name}": (self.ffn_width, width) for name in ("gate", "up")}
            found[f"experts.{expert}.down"] = (width, self.ffn_width)
        if self.shared_width:
            found |= self._shared.shapes(width)
        return {**found, **({"shared_router": (1, width)} if self.shared_gated else {})}

    @property
    def _shared(self) -> FeedForward:
        return FeedForward(ffn_width=self.shared_width, activation=self.activation, prefix="shared_")

    def slots(self) -> Mapping[str, Slot]:
        return {}

    def run(self, x_BD: np.ndarray, call: Call) -> np.ndarray:
        router = call.weights.vector("router").reshape(self.num_experts, -1)
        seen_BD = rms_norm(x_BD, None, call.epsilon) if self.inner_norm else x_BD
        logits_BE = np.stack([router @ row for row in seen_BD])
        bias = call.weights.vector("router_bias") if self.corrected else None
        routes = self.routes(logits_BE, bias)
        if self.scaled:
            own = call.weights.vector("expert_scale")[routes.experts_BK]
            routes = Routes(routes.experts_BK, routes.shares_BK * own)
        if self.inner_norm:
            x_BD = seen_BD * call.weights.vector(self.inner_norm)
        if self.shares_first:
            out = np.zeros_like(x_BD)
            for place in range(self.used):
                one = slice(place, place + 1)
                scaled = x_BD * routes.shares_BK[:, one]
                alone = Routes(routes.experts_BK[:, one], np.ones_like(routes.shares_BK[:, one]))
                out += call.weights.experts(scaled, alone, self.activation)
        else:
            out = call.weights.experts(x_BD, routes, self.activation)
        if not self.shared_width:
            return out
        shared = self._shared.run(x_BD, call)
        if self.shared_gated:
            gate = call.weights.vector("shared_router")
            shared = shared * sigmoid(np.stack([row @ gate for row in x_BD]))[:, None]
        return out + shared

    def routes(self, logits_BE: np.ndarray, bias_E: np.ndarray | None) -> Routes:
        """Ties go to the lowest expert. Each row's route is its own affair."""
        scores = sigmoid(logits_BE) if self.scoring == "sigmoid" else softmax(logits_BE)
        wanted = scores if bias_E is None else scores + bias_E
        if self.groups > 1:
            wanted = self._within_groups(wanted)
        chosen = np.sort(np.argsort(-wanted, axis=-1, kind="stable")[:, : self.used], axis=-1)
        if self.scoring == "softmax_chosen":
            return Routes(chosen, softmax(np.take_along_axis(logits_BE, chosen, -1)) * np.float32(self.share_scale))
        shares = np.take_along_axis(scores, chosen, -1)
        if self.normalise:
            total = shares[:, 0].copy()
            for place in range(1, self.used):
                total += shares[:, place]
            shares = shares / (total[:, None] + np.float32(1e-20))
        return Routes(chosen, (shares * np.float32(self.share_scale)).astype(np.float32, copy=False))

    def _within_groups(self, wanted_BE: np.ndarray) -> np.ndarray:
        grouped = wanted_BE.reshape(len(wanted_BE), self.groups, -1)
        best = np.sort(grouped, axis=-1)[..., ::-1]
        scores_BG = best[..., 0] if self.group_best else best[..., 0] + best[..., 1]
        kept = np.argsort(-scores_BG, axis=-1, kind="stable")[:, : self.groups_used]
        open_BG = np.zeros(scores_BG.shape, bool)
        np.put_along_axis(open_BG, kept, True, axis=-1)
        return np.where(open_BG[..., None], grouped, -np.inf).reshape(wanted_BE.shape)
