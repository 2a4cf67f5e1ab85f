"""The V-Blocks core in torch: for training, and for evaluating many sequences at once.

    layer:  x += LocalMixer(norm x);  x += GatedDelta(norm x) [+ Lava(norm x)];  x += GatedMLP(norm x)

A gated layer is taken by the tokens whose depth gate is open; the others pass by and leave its state alone.
Promises: logits of position t depend on tokens 0..t alone; with a state carried the result is that of the whole
sequence up to float32 rounding. vblocks/model.py speaks the house's LanguageModel contract over the same weights.
Shapes: B sequences, T tokens, D width, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from vortex.vblocks.checkpoint import CoreCheckpoint
from vortex.vblocks.config import CoreConfig
from vortex.vblocks.network.depth_gate import DepthGate, weight_of
from vortex.vblocks.network.gated_delta import GatedDelta
from vortex.vblocks.network.gated_mlp import GatedMLP
from vortex.vblocks.network.lava import Lava
from vortex.vblocks.network.local_mixer import LocalMixer
from vortex.vblocks.network.ragged import ALL_ROWS, Rows, compact
from vortex.vblocks.network.state import CoreState, LayerState, joined, part_of

GATES = (
    "log_gamma", "write_bias", "null_logit", "null_value", "decay_rate", "decay_bias", "distance_bias", "sink_key",
    "sink_value",
)  # fmt: skip
DEPTH_GATE_FACTOR = 0.3  # of the learning rate: faster gates close on layers that are still learning


@dataclass(slots=True)
class Notes:
    """What a forward pass reports beside its result. path_use: mean size of each path's part, relative to its input."""

    losses: dict[str, torch.Tensor] = field(default_factory=dict)
    path_use: dict[str, float] = field(default_factory=dict)
    measures_paths: bool = False

    def add_path(self, name: str, part: torch.Tensor, x: torch.Tensor) -> None:
        if self.measures_paths:
            size = part.detach().float().square().mean().sqrt() / x.detach().float().square().mean().sqrt()
            self.path_use[name] = float(size)


@dataclass(frozen=True, slots=True)
class CoreOutput:
    """hidden [B, T, D] after the last norm; logits [B, T, V]; mtp_logits[j] predicts the token j + 2 places on.

    state: None in the exact form. losses: auxiliary ones, to be weighed by the trainer. path_use: empty unless asked.
    """

    hidden: torch.Tensor
    logits: torch.Tensor
    mtp_logits: tuple[torch.Tensor, ...]
    losses: dict[str, torch.Tensor]
    state: CoreState | None
    path_use: dict[str, float]


class RMSNorm(nn.Module):
    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.rms_norm(x, (x.shape[-1],), self.weight, self.epsilon)


class CoreLayer(nn.Module):
    """One block. `ssm_path_dropout` and `local_dropout` act in training mode only."""

    def __init__(self, config: CoreConfig, index: int) -> None:
        super().__init__()
        self.index, self.config = index, config
        self.local_dropout = config.local_dropout
        self.ssm_path_dropout = config.ssm_path_dropout if config.has_lava(index) else 0.0
        width, epsilon = config.width, config.norm_epsilon
        self.local_norm = RMSNorm(width, epsilon)
        self.local = LocalMixer(
            width, config.local_conv, config.local_window, config.local_heads,
            kv_heads=config.local_kv_heads, rope_base=config.local_rope_base, sink=config.local_sink,
        )  # fmt: skip
        self.mixer_norm = RMSNorm(width, epsilon)
        self.delta = GatedDelta(width, config.num_heads, config.key_dim, config.value_dim, config.ssm_conv)
        self.lava = Lava(width, config.lava, config.lava_conv, config.lava_gamma) if config.has_lava(index) else None
        self.mlp_norm = RMSNorm(width, epsilon)
        self.mlp = GatedMLP(width, config.mlp_width)
        self.gate = DepthGate(width, config.depth_hysteresis) if config.is_gated(index) else None

    def new_state(self, batch: int) -> LayerState:
        gate_open = None
        if self.gate is not None:
            gate_open = torch.ones(batch, dtype=torch.bool, device=self.gate.weight.device)
        lava = self.lava.new_state(batch) if self.lava is not None else None
        return LayerState(self.local.new_state(batch), self.delta.new_state(batch), lava, gate_open)

    def forward(
        self, x: torch.Tensor, state: LayerState, rows: Rows, notes: Notes, *, exact: bool
    ) -> tuple[torch.Tensor, LayerState]:
        name = f"layers.{self.index}"
        y, local = self.local(self.local_norm(x), state.local, rows)
        y = self._dropped(y, self.local_dropout)
        notes.add_path(f"{name}.local", y, x)
        x = x + y
        h = self.mixer_norm(x)
        y, surprise, delta = self.delta(h, state.delta, rows)
        lava = state.lava
        y = self._dropped(y, self.ssm_path_dropout)
        if self.lava is not None:
            read = self.lava(h, surprise, None if exact else state.lava, rows)
            lava = read.state
            notes.add_path(f"{name}.lava", read.y, x)
            if self.config.lava_foresight and read.gate_loss is not None:
                notes.losses[f"{name}.foresight"] = self.config.lava_foresight * read.gate_loss
            if notes.measures_paths:
                notes.path_use[f"{name}.lava_null"] = float(read.null_share)
        notes.add_path(f"{name}.delta", y, x)
        x = x + y + (read.y if self.lava is not None else 0)
        y = self.mlp(self.mlp_norm(x))
        notes.add_path(f"{name}.mlp", y, x)
        return x + y, LayerState(local, delta, lava, state.gate_open)

    def _dropped(self, y: torch.Tensor, share: float) -> torch.Tensor:
        """For a share of the training sequences nothing at all; the others are not scaled up."""
        if not self.training or share <= 0:
            return y
        return y * (torch.rand(len(y), 1, 1, device=y.device) >= share)


def taken_share(keep_BT: torch.Tensor, probability_BT: torch.Tensor) -> torch.Tensor:
    """The share of tokens that take a layer, with the gradient of the score: what counts is what is skipped, and a
    score may lie anywhere above the middle without costing more."""
    return keep_BT.float().mean() + (probability_BT - probability_BT.detach()).mean()


class MtpHead(nn.Module):
    """A residual step from the hidden row of position t towards the one that predicts a later token."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.norm = RMSNorm(width, epsilon)
        self.in_proj = nn.Linear(width, width, bias=False)
        self.out_proj = nn.Linear(width, width, bias=False)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = hidden + self.out_proj(F.silu(self.in_proj(self.norm(hidden))))
        return y


class CoreNetwork(nn.Module):
    def __init__(self, config: CoreConfig) -> None:
        super().__init__()
        self.config = config
        self.depth_target = config.depth_target  # a trainer may begin with more (training/schedule.py)
        self.embedding = nn.Embedding(config.vocab_size, config.width)
        self.layers = nn.ModuleList(CoreLayer(config, index) for index in range(config.num_layers))
        self.norm = RMSNorm(config.width, config.norm_epsilon)
        self.head = None if config.tie_embeddings else nn.Linear(config.width, config.vocab_size, bias=False)
        self.mtp = nn.ModuleList(MtpHead(config.width, config.norm_epsilon) for _ in range(config.mtp_k))
        self._initialise()
        for layer in self.layers:
            if config.compile_step:
                layer.compile(dynamic=True)
            elif config.compile_local_mixer_step:
                layer.local.compile(dynamic=True)

    @property
    def draft_heads(self) -> int:
        return self.config.mtp_k

    def new_state(self, batch: int) -> CoreState:
        return tuple(layer.new_state(batch) for layer in self.layers)

    def forward(
        self,
        token_ids_BT: torch.Tensor,
        state: CoreState | None = None,
        *,
        with_mtp: bool = True,
        with_logits: bool = True,
        paths: bool = False,
    ) -> CoreOutput:
        """Without a state: the exact form, from the beginning of each sequence. With one (`new_state`): the bounded
        memory, and the next state. `paths` fills path_use. `with_logits` False: logits [B, T, 0], for a trainer
        that wants few rows of them (`logits_of`)."""
        if state is not None and self.config.depth_gating and len(token_ids_BT) > 1:
            return self._one_by_one(token_ids_BT, state, with_mtp)
        notes = Notes(measures_paths=paths)
        x, next_state = self._sweep(token_ids_BT, state, notes)
        hidden = self.norm(x)
        mtp = tuple(self.logits_of(head(hidden)) for head in self.mtp) if with_mtp else ()
        logits = self.logits_of(hidden) if with_logits else hidden[..., :0]
        return CoreOutput(hidden, logits, mtp, notes.losses, next_state, notes.path_use)

    def logits_of(self, hidden: torch.Tensor) -> torch.Tensor:
        return F.linear(hidden, self.embedding.weight if self.head is None else self.head.weight)

    def parameter_groups(self, learning_rate: float, weight_decay: float, gate_factor: float = 3.0) -> list[dict]:  # type: ignore[type-arg]
        """For an optimiser: matrices decay; vectors do not; gates neither, and learn `gate_factor` times faster.
        A core with depth gates has them in a last group; they learn more slowly than the rest."""
        named = list(self.named_parameters())
        gates = [p for name, p in named if name.rsplit(".", 1)[-1] in GATES]
        depth_gates = [p for name, p in named if ".gate." in name]
        chosen = {id(p) for p in (*gates, *depth_gates)}
        matrices = [p for name, p in named if p.dim() == 2 and id(p) not in chosen and "conv" not in name]
        chosen |= {id(p) for p in matrices}
        rest = [p for _, p in named if id(p) not in chosen]
        groups = [
            {"params": matrices, "lr": learning_rate, "weight_decay": weight_decay},
            {"params": rest, "lr": learning_rate, "weight_decay": 0.0},
            {"params": gates, "lr": learning_rate * gate_factor, "weight_decay": 0.0},
        ]
        if depth_gates:
            groups.append({"params": depth_gates, "lr": learning_rate * DEPTH_GATE_FACTOR, "weight_decay": 0.0})
        return groups

    def set_path_dropout(self, ssm: float, local: float) -> None:
        """Shares of training sequences; the delta rule's in LAVA layers alone."""
        for layer in self.layers:
            layer.ssm_path_dropout = ssm if layer.lava is not None else 0.0
            layer.local_dropout = local

    def _sweep(
        self, token_ids: torch.Tensor, state: CoreState | None, notes: Notes
    ) -> tuple[torch.Tensor, CoreState | None]:
        x = self.embedding(token_ids)
        exact, before = state is None, state or self.new_state(len(token_ids))
        depth = torch.zeros(token_ids.shape, dtype=torch.int64, device=x.device)
        after, shares = [], []
        for layer, layer_state in zip(self.layers, before, strict=True):
            if layer.gate is None:
                x, layer_state = layer(x, layer_state, ALL_ROWS, notes, exact=exact)
                depth = depth + 1
            else:
                x, layer_state, keep, probability = self._gated(layer, x, layer_state, depth, notes, exact=exact)
                depth = depth + keep
                shares.append(taken_share(keep, probability))
            after.append(layer_state)
        if shares:
            # A sum: each gate is held to the target as firmly in a deep core as in a shallow one.
            notes.losses["depth"] = (torch.stack(shares) - self.depth_target).square().sum()
            notes.path_use["mean_depth"] = float(depth.float().mean())
        return x, None if exact else tuple(after)

    def _gated(
        self, layer: CoreLayer, x: torch.Tensor, state: LayerState, depth: torch.Tensor, notes: Notes, *, exact: bool
    ) -> tuple[torch.Tensor, LayerState, torch.Tensor, torch.Tensor]:
        assert layer.gate is not None, "a gated layer has a gate"
        assert state.gate_open is not None, "and its state a trigger"
        is_open, probability = layer.gate(x, state.gate_open)
        keep = torch.ones_like(is_open) if layer.index < self.config.depth_min else is_open
        if self.config.depth_max:
            keep = keep & (depth < self.config.depth_max)
        if not bool(keep.any()):
            next_state = LayerState(state.local, state.delta, state.lava, is_open[:, -1])
            return x, next_state, keep, probability
        kept, places, rows = compact(x, keep)
        y, next_state = layer(kept, state, rows if len(x) > 1 else ALL_ROWS, notes, exact=exact)
        scale = weight_of(probability, self.config.depth_hysteresis).gather(1, places) * (
            1.0 if rows.valid_BT is None else rows.valid_BT
        )
        added = (y - kept) * scale[..., None].to(x.dtype)
        x = x.scatter_add(1, places[..., None].expand_as(added), added)
        next_state = LayerState(next_state.local, next_state.delta, next_state.lava, is_open[:, -1])
        return x, next_state, keep, probability

    def _one_by_one(self, token_ids: torch.Tensor, state: CoreState, with_mtp: bool) -> CoreOutput:
        """Gated sequences move through their layers at different paces: each alone."""
        parts = [
            self.forward(token_ids[index : index + 1], part_of(state, index), with_mtp=with_mtp)
            for index in range(len(token_ids))
        ]
        states = joined([part.state for part in parts if part.state is not None])
        assert states is not None, "gated sequences that were split must be carried one at a time"
        mtp = tuple(torch.cat(heads) for heads in zip(*(part.mtp_logits for part in parts), strict=True))
        losses = {name: torch.stack([part.losses[name] for part in parts]).mean() for name in parts[0].losses}
        hidden = torch.cat([part.hidden for part in parts])
        return CoreOutput(hidden, torch.cat([part.logits for part in parts]), mtp, losses, states, {})

    def _initialise(self) -> None:
        """Each path begins silent, so that a layer hears the tokens themselves, and both memories as recall: what is
        left to learn is to use their answers."""
        for name, parameter in self.named_parameters():
            if parameter.dim() != 2 or not name.endswith(("proj.weight", "embedding.weight", "head.weight")):
                continue
            if name.endswith("out_proj.weight"):
                nn.init.zeros_(parameter)
            else:
                nn.init.normal_(parameter, std=0.02 if "embedding" in name else parameter.shape[1] ** -0.5)
        for layer in self.layers:
            layer.delta.begin_as_recall()
            if layer.lava is not None:
                layer.lava.begin_as_recall()

    def awaken(self) -> None:
        """Random weights everywhere, as if it had learnt something: for checks of a network that has not."""
        for name, parameter in self.named_parameters():
            if name.endswith("conv.weight"):
                nn.init.uniform_(parameter, -(parameter.shape[1] ** -0.5), parameter.shape[1] ** -0.5)
            elif name.endswith(("distance_bias", "sink_key", "sink_value")):
                nn.init.normal_(parameter)
            elif name.endswith(("proj.weight", "embedding.weight", "head.weight")):
                std = parameter.shape[1] ** -0.5
                nn.init.normal_(
                    parameter, std=std * (2 * self.config.num_layers) ** (-0.5 if "out_proj" in name else 0)
                )

    def num_parameters(self, *, with_embeddings: bool = True) -> int:
        names = self.named_parameters()
        return sum(p.numel() for name, p in names if with_embeddings or not name.startswith(("embedding.", "head.")))


def network_of(checkpoint: CoreCheckpoint) -> CoreNetwork:
    """A network with a checkpoint's weights."""
    network = CoreNetwork(checkpoint.config)
    network.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in checkpoint.weights.items()})
    return network


def weights_of(network: CoreNetwork) -> dict[str, np.ndarray]:
    """What `save_core` wants: float32 copies on the CPU."""
    return {name: value.detach().float().cpu().numpy().copy() for name, value in network.state_dict().items()}
