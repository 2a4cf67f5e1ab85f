"""One small random decoder on a device, resident and paged, and on the CPU: do they agree?

What `vortex doctor --deep` asks where a GPU is, and what the tests ask of a CPU that plays the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vortex.c3.format.folder import C3Folder, C3Writer
from vortex.c3.paging import loader
from vortex.c3.paging.expert_pager import ExpertPager
from vortex.c3.paging.options import PagerOptions
from vortex.c3.paging.pager import Pager
from vortex.c3.sources import ResidentSource, WeightSource, expert_unit, units_of
from vortex.c3.torch.device_memory import DeviceMemory
from vortex.models.decoder.model import Decoder
from vortex.models.decoder.torch_compute import TorchCompute
from vortex.models.decoder.torch_pack import pack_rows
from vortex.models.files.decoder_config import DecoderConfig
from vortex.models.files.random_checkpoint import RandomCheckpoint
from vortex.types import Span, Want

SMALL = DecoderConfig(
    architecture="qwen3", num_layers=3, width=128, ffn_width=256, num_heads=4, num_kv_heads=2, head_width=32,
    vocab_size=256, context_length=256, norm_epsilon=1e-6, rope_theta=10_000.0, qk_norm=True,
)  # fmt: skip
SMALL_WITH_EXPERTS = DecoderConfig(
    architecture="gpt_oss", num_layers=3, width=128, ffn_width=64, num_heads=4, num_kv_heads=2, head_width=32,
    vocab_size=256, context_length=256, norm_epsilon=1e-5, rope_theta=150_000.0, sliding_window=8, global_every=2,
    activation="clamped_swiglu", swiglu_limit=7.0, qkv_bias=True, attention_out_bias=True, attention_sinks=True,
    num_experts=8, experts_per_token=2, expert_biases=True,
)  # fmt: skip
STEPS = (10, 3, 1)


@dataclass(frozen=True, slots=True)
class Agreement:
    """same_bits: paged equals resident, on the device. cpu_difference: relative root mean square of device and CPU."""

    same_bits: bool
    cpu_difference: float
    uploaded_bytes: int


def compare_tiers(device: str, config: DecoderConfig, folder: Path, *, host_bytes: int = 0) -> Agreement:
    """folder: where the packed model is written; it must not exist."""
    packed = pack_random(config, folder)
    resident = logits_of(Decoder(config, TorchCompute(config, device_source(packed, device, 0), device=device)))
    source = device_source(packed, device, smallest_budget(packed), host_bytes=host_bytes)
    paged = logits_of(Decoder(config, TorchCompute(config, source, device=device)))
    uploaded = int(source.counters()["bytes_h2d"])
    source.close()
    on_cpu = logits_of(Decoder(config, TorchCompute(config, ResidentSource(packed))))
    difference = np.sqrt(np.mean((resident - on_cpu) ** 2) / np.mean(on_cpu**2))
    return Agreement(np.array_equal(resident, paged), float(difference), uploaded)


def pack_random(config: DecoderConfig, folder: Path, *, quantised: bool = False, compress: bool = False) -> C3Folder:
    metadata = {"experts_per_token": config.experts_per_token}
    with C3Writer(folder, metadata, compress=compress) as writer:
        pack_rows(RandomCheckpoint(config, quantised=quantised), writer, "auto")
    return C3Folder(folder)


def device_source(folder: C3Folder, device: str, budget_bytes: int, *, host_bytes: int = 0) -> WeightSource:
    """Paged on the device under a budget; resident for 0 (experts: in slots for all of them)."""
    has_experts = bool(folder.metadata.get("experts_per_token"))
    if not budget_bytes and not has_experts:
        return ResidentSource(folder)
    everything = sum(unit_bytes(folder).values())
    options = PagerOptions(budget_bytes=budget_bytes or everything, host_bytes=host_bytes)
    pager = ExpertPager if has_experts else Pager
    return pager(folder, options, memory=DeviceMemory(device))


def unit_bytes(folder: C3Folder) -> dict[str, int]:
    return loader.unit_bytes(units_of(folder.entries))


def smallest_budget(folder: C3Folder) -> int:
    """The trunk and one token's experts, or two of the largest unit."""
    sizes = unit_bytes(folder)
    experts = [size for unit, size in sizes.items() if expert_unit(unit)]
    if not experts:
        return 2 * max(sizes.values())
    layers = len({unit.split(".")[1] for unit in sizes if expert_unit(unit)})
    trunk = sum(size for unit, size in sizes.items() if not expert_unit(unit))
    return trunk + max(experts) * layers * int(folder.metadata["experts_per_token"])


def logits_of(model: Decoder, steps: Sequence[int] = STEPS) -> np.ndarray:
    """float32 [tokens, vocabulary]: a prompt, a block, single tokens. Closes nothing but its sequence."""
    state, parts, first = model.new_state(), [], 0
    for count in steps:
        ids = [(7 * position) % model.vocab_size for position in range(first, first + count)]
        parts.append(model.sweep([Span(state, ids, Want.ALL_LOGITS)]).logits)
        state.commit(count)
        first += count
    state.close()
    return np.concatenate(parts)
