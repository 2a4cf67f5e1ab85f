"""One core, five forms, every flag on and off: how far apart their logits and gradients are.

exact      torch, training: chunked delta rule, attention over all pairs that were written
in pieces  torch, through the slots, at odd cuts
step       torch, token by token, the delta rule's definition
numpy      the LanguageModel without the native core
native     the LanguageModel with it (layers with clusters: numpy's)
Both of the latter: one sweep against another cut, company and a partial commit, which must be the same bits.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from vortex.bench.measurement import CheckFailed
from vortex.bench.report import Report
from vortex.kernels import dispatch
from vortex.types import Span, Want
from vortex.vblocks.checkpoint import CoreCheckpoint
from vortex.vblocks.config import CoreConfig
from vortex.vblocks.model import VortexCore
from vortex.vblocks.network.gated_delta import GatedDelta
from vortex.vblocks.network.network import CoreNetwork, weights_of
from vortex.vblocks.weights import CoreWeights, MemorySource

NUM_TOKENS = 101  # odd
CUTS = ((0, 1), (1, 38), (38, 40), (40, 101))
LIMIT = 1e-4
BASE = CoreConfig(
    vocab_size=127,
    width=48,
    num_layers=4,
    key_dim=12,
    value_dim=16,
    mlp_width=96,
    lava_period=2,
    lava_key_dim=12,
    lava_value_dim=16,
    lava_write_every=7,
    lava_writes=4,
    lava_merge_cosine=2.0,  # no merges: in the exact form there are none
)
FLAGS: dict[str, dict[str, Any]] = {
    "all off": {},
    "core.mtp_k = 2": {"mtp_k": 2},
    "lava_read_every = 3": {"lava_read_every": 3},
    "lava_write_every = 13": {"lava_write_every": 13},
    "lava_write_on_surprise": {"lava_write_on_surprise": True, "lava_surprise_threshold": 1.05},
    "lava_clusters = 8": {"lava_clusters": 8, "lava_cluster_top": 8},
    "depth_gating": {"depth_gating": True, "depth_min": 1, "depth_hysteresis": 0.05},
    "depth_gating.max = 2": {"depth_gating": True, "gated_from": 0, "depth_min": 0, "depth_max": 2},
    "window of 8": {"local_window": 8},
    "grouped, rotated window of 8 with a sink": {
        "local_window": 8,
        "local_heads": 4,
        "local_kv_heads": 2,
        "local_rope_base": 100.0,
        "local_sink": True,
    },
    "everything": {
        "mtp_k": 2,
        "lava_read_every": 2,
        "lava_write_on_surprise": True,
        "lava_surprise_threshold": 1.0,
        "depth_gating": True,
        "depth_min": 1,
        "local_window": 8,
        "lava_clusters": 8,
        "lava_cluster_top": 8,
    },
}


@dataclasses.dataclass(frozen=True, slots=True)
class Distances:
    """Largest differences from the exact form, of logits to the largest logit, of gradients to each tensor's largest;
    whether the sweeps' bits agree."""

    in_pieces: float
    steps: float
    numpy: float
    native: float
    gradient: float
    same_bits: bool

    @property
    def hold(self) -> bool:
        return (
            max(self.in_pieces, self.steps, self.numpy, self.native) <= LIMIT
            and self.gradient <= 1e-3
            and self.same_bits
        )


class ParityMeasurement:
    def check(self) -> None:
        """A form with another weight must be noticed."""
        network, ids = _network(BASE), _ids()
        with torch.no_grad():
            exact = network(ids).logits
            network.layers[-1].lava.log_gamma += 0.5
            if float((network(ids).logits - exact).abs().max()) < LIMIT:
                raise CheckFailed("the comparison would not notice a wrong gamma in LAVA")

    def measure(self) -> Report:
        found = {name: distances(dataclasses.replace(BASE, **changes)) for name, changes in FLAGS.items()}
        rows = []
        for name, d in found.items():
            values = (d.in_pieces, d.steps, d.numpy, d.native, d.gradient)
            rows.append([name, *(f"{value:.1e}" for value in values), str(d.same_bits)])
        return Report(
            name="core parity",
            title=f"Difference from the exact form, of the largest logit, over {NUM_TOKENS} tokens (limit {LIMIT:g})",
            columns=["flag", "in pieces", "step by step", "numpy", "native", "gradient", "sweeps' bits equal"],
            rows=rows,
            figures={
                "holds": all(d.hold for d in found.values()),
                "distances": {name: dataclasses.asdict(d) for name, d in found.items()},
            },
        )


def distances(config: CoreConfig) -> Distances:
    network, ids = _network(config), _ids()
    with torch.no_grad():
        exact = network(ids).logits
        pieces = _in_pieces(network, ids, CUTS)
        rules = [module for module in network.modules() if isinstance(module, GatedDelta)]
        for rule in rules:
            rule.chunked = False
        steps = _in_pieces(network, ids, tuple((at, at + 1) for at in range(NUM_TOKENS)))
        for rule in rules:
            rule.chunked = True
    rows, same_bits = _model_rows(network, ids, native=False)
    native_rows, same_native_bits = _model_rows(network, ids, native=dispatch.usable())
    largest = float(exact.abs().max())
    return Distances(
        in_pieces=float((pieces - exact).abs().max()) / largest,
        steps=float((steps - exact).abs().max()) / largest,
        numpy=float(np.abs(rows - exact[0].numpy()).max()) / largest,
        native=float(np.abs(native_rows - exact[0].numpy()).max()) / largest,
        gradient=_gradient_distance(network, ids),
        same_bits=same_bits and same_native_bits,
    )


def _network(config: CoreConfig) -> CoreNetwork:
    """Gates that really open and close, a memory that is read."""
    torch.manual_seed(4)
    network = CoreNetwork(config).eval()
    network.awaken()
    for layer in network.layers:
        if layer.gate is not None:
            torch.nn.init.normal_(layer.gate.weight, std=0.3)
            torch.nn.init.zeros_(layer.gate.bias)
    return network


def _ids() -> torch.Tensor:
    return torch.randint(0, BASE.vocab_size, (1, NUM_TOKENS), generator=torch.Generator().manual_seed(6))


def _in_pieces(network: CoreNetwork, ids: torch.Tensor, cuts: tuple[tuple[int, int], ...]) -> torch.Tensor:
    def pieces() -> Iterator[torch.Tensor]:
        state = network.new_state(1)
        for start, stop in cuts:
            output = network(ids[:, start:stop], state, with_mtp=False)
            state = output.state
            yield output.logits

    return torch.cat(list(pieces()), 1)


def _gradient_distance(network: CoreNetwork, ids: torch.Tensor) -> float:
    """Between the exact form and two pieces with the state carried, relative to the largest of each tensor."""
    found = []
    for form in (lambda: network(ids, with_mtp=False).logits, lambda: _in_pieces(network, ids, ((0, 38), (38, 101)))):
        network.zero_grad()
        logits: torch.Tensor = form()  # type: ignore[no-untyped-call]
        logits.log_softmax(-1)[..., 5].mean().backward()
        found.append({name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None})
    network.zero_grad()
    exact, pieces = found
    return max(float((pieces[n] - g).abs().max() / g.abs().max().clamp(min=1e-6)) for n, g in exact.items())


def _model_rows(network: CoreNetwork, ids: torch.Tensor, *, native: bool) -> tuple[np.ndarray, bool]:
    """(logits of one sweep, whether other cuts, company and rejected drafts give the same bits)."""
    checkpoint = CoreCheckpoint(network.config, weights_of(network))
    model = VortexCore(network.config, CoreWeights(MemorySource(checkpoint, native=native)))
    tokens = ids[0].tolist()
    rows = model.sweep([Span(model.new_state(), tokens, Want.ALL_LOGITS)]).logits
    state, other, cut_rows = model.new_state(), model.new_state(), []
    for start, stop in CUTS:
        draft = [*tokens[start:stop], 3, 1, 2]
        output = model.sweep([Span(other, tokens[:9], Want.NOTHING), Span(state, draft, Want.ALL_LOGITS)])
        cut_rows.append(output.logits[: stop - start])
        state.commit(stop - start)
        other.commit(0)
    return rows, bool(np.array_equal(np.concatenate(cut_rows), rows))
