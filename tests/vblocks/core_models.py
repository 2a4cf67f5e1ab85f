"""Small cores with every option on or off, for tests."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from vortex.vblocks.config import CoreConfig
from vortex.vblocks.network.network import CoreNetwork

ROTATED = {"local_window": 6, "local_rope_base": 50.0, "local_sink": True}
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "window": {"local_window": 5},
    "rotated window": ROTATED,
    "grouped window": ROTATED | {"local_heads": 4, "local_kv_heads": 2},
    "duty": {"lava_read_every": 3, "lava_write_every": 6, "lava_writes": 6},
    "surprise": {"lava_write_on_surprise": True, "lava_surprise_threshold": 1.15},
    "untied": {"tie_embeddings": False, "mtp_k": 0, "lava_rank": "random"},
    "by_gate": {"lava_rank": "gate", "lava_foresight": 0.1},
    "no_lava": {"lava_period": 0},
    "gated": {"depth_gating": True, "depth_min": 1, "depth_hysteresis": 0.03, "local_window": 4},
    "gated_period": {
        "depth_gating": True,
        "gated_from": 0,
        "gated_period": 2,
        "depth_min": 0,
        "depth_hysteresis": 0.03,
    },
    "gated_max": {"depth_gating": True, "gated_from": 0, "depth_min": 0, "depth_max": 2},
}
BOUNDED: dict[str, dict[str, Any]] = {  # where the exact form and the slots differ by design
    "evicting": {"lava_slots": 9},
    "merging": {"lava_merge_cosine": 0.5, "lava_slots": 24},
    "clusters": {"lava_clusters": 6, "lava_cluster_top": 2, "lava_slots": 30},
    "top_k": {"lava_top_k": 3, "lava_write_on_surprise": True},
}
QUICK = frozenset({"plain", "gated", "window", "evicting"})


def variants(*groups: dict[str, dict[str, Any]]) -> list[Any]:
    """Parameters of a test: every variant, most of them in the long run only."""
    names = [name for group in groups for name in group]
    return [name if name in QUICK else pytest.param(name, marks=pytest.mark.long) for name in names]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny tensors: a second thread only waits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def tiny_config(**changes: Any) -> CoreConfig:
    sizes = {"width": 24, "key_dim": 6, "value_dim": 8, "mlp_width": 40, "lava_key_dim": 6, "lava_value_dim": 8}
    rest = {"lava_period": 2, "lava_write_every": 7, "lava_writes": 4, "lava_merge_cosine": 2.0, "mtp_k": 2}
    return CoreConfig(**{"vocab_size": 61, "num_layers": 3, **sizes, **rest, **changes})


def tiny_network(seed: int = 0, **changes: Any) -> CoreNetwork:
    """In evaluation mode, with gates that really open and close."""
    torch.manual_seed(seed)
    network = CoreNetwork(tiny_config(**changes)).eval()
    network.awaken()
    for layer in network.layers:
        torch.nn.init.uniform_(layer.delta.norm, 0.5, 1.5)
        if layer.gate is not None:
            torch.nn.init.normal_(layer.gate.weight, std=0.4)
            torch.nn.init.zeros_(layer.gate.bias)
        if layer.lava is not None:
            torch.nn.init.normal_(layer.lava.null_value)
            torch.nn.init.normal_(layer.lava.null_logit)
        if layer.local.distance_bias is not None:
            torch.nn.init.normal_(layer.local.distance_bias)
    torch.nn.init.normal_(network.embedding.weight, std=0.5)
    return network


def tokens(batch: int, count: int, seed: int = 3) -> torch.Tensor:
    return torch.randint(0, 61, (batch, count), generator=torch.Generator().manual_seed(seed))
