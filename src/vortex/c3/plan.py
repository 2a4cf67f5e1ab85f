"""Where every gigabyte of a model would go under a budget, and the tokens per second that the bound allows.

Arithmetic on published shapes: no file is read, nothing is measured. Time per token, fully overlapped:
max(missing bytes / disk rate, bytes read from memory / memory rate); and the sum of the two, where nothing overlaps (an
expert is known only once its layer's router has spoken). A mixture of experts needs a hit rate: it comes
from a replay of a public trace, handed in as a function of the cache's bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vortex.c3.format.sizes import spell_bytes
from vortex.errors import ConfigError

INT8_BYTES = 34 / 32  # per weight, Q8_0: 32 8-bit codes and a float16 scale
MXFP4_BYTES = 17 / 32  # 32 4-bit codes and one exponent byte
INT4_BYTES = 20 / 32  # Q4_1: 32 4-bit codes, a float16 scale and minimum
STAGING_BYTES = 256 << 20
PROCESS_BYTES = 700 * 10**6
CONTEXT_TOKENS = 8192
HitRate = Callable[[int], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """Published dimensions. `ffn_width` is one expert's where there are experts; 0 experts: dense."""

    layers: int
    width: int
    ffn_width: int
    heads: int
    kv_heads: int
    head_width: int
    vocabulary: int
    experts: int = 0
    top_k: int = 0
    captured_top_k: int = 0  # of the trace that stands for this model
    trunk_weight_bytes: float = INT8_BYTES
    expert_weight_bytes: float = INT4_BYTES

    @property
    def attention_weights(self) -> int:
        """Per layer."""
        return self.head_width * self.width * 2 * (self.heads + self.kv_heads)

    @property
    def expert_bytes(self) -> int:
        return int(3 * self.width * self.ffn_width * self.expert_weight_bytes)

    @property
    def trunk_bytes(self) -> int:
        """Everything a token always reads: attention, router, dense feed-forward, head."""
        ffn = self.experts * self.width if self.experts else 3 * self.width * self.ffn_width
        weights = self.layers * (self.attention_weights + ffn) + self.vocabulary * self.width
        return int(weights * self.trunk_weight_bytes)

    @property
    def kv_bytes(self) -> int:
        return self.layers * 2 * self.kv_heads * self.head_width * 2 * CONTEXT_TOKENS


SHAPES = {
    "gpt-oss-120b": ModelShape(layers=36, width=2880, ffn_width=2880, heads=64, kv_heads=8, head_width=64,
                               vocabulary=201088, experts=128, top_k=4, captured_top_k=2,
                               expert_weight_bytes=MXFP4_BYTES),
    "gpt-oss-20b": ModelShape(layers=24, width=2880, ffn_width=2880, heads=64, kv_heads=8, head_width=64,
                              vocabulary=201088, experts=32, top_k=4, expert_weight_bytes=MXFP4_BYTES),
    "qwen3-30b-a3b": ModelShape(layers=48, width=2048, ffn_width=768, heads=32, kv_heads=4, head_width=128,
                                vocabulary=151936, experts=128, top_k=8, captured_top_k=6),
    "qwen3-8b": ModelShape(layers=36, width=4096, ffn_width=12288, heads=32, kv_heads=8, head_width=128,
                           vocabulary=151936, trunk_weight_bytes=INT4_BYTES),
    "llama-3.1-70b": ModelShape(layers=80, width=8192, ffn_width=28672, heads=64, kv_heads=8, head_width=128,
                                vocabulary=128256, trunk_weight_bytes=INT4_BYTES),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Machine:
    ram_bytes: int
    disk_bytes_per_s: float
    memory_bytes_per_s: float


@dataclass(frozen=True, slots=True)
class Speed:
    """One prediction. `basis` says where the hit rate comes from."""

    basis: str
    hit_rate: float
    disk_bytes_per_token: float
    seconds_per_token: float
    seconds_in_turn: float  # disk, then memory: nothing overlaps


@dataclass(frozen=True, slots=True)
class Plan:
    """parts: (what, bytes, note) that add up to the machine's memory; on_disk likewise to the model's."""

    parts: tuple[tuple[str, int, str], ...]
    on_disk: tuple[tuple[str, int, str], ...]
    speeds: tuple[Speed, ...]


def make_plan(name: str, machine: Machine, hit_rate: HitRate | None = None) -> Plan:
    """hit_rate: of the trace's replay with a cache of that many bytes. Raises ConfigError, naming what would do."""
    shape = SHAPES.get(name.lower())
    if shape is None:
        raise ConfigError(f"no published shape of '{name}'; known: {', '.join(SHAPES)}")
    overhead = shape.kv_bytes + STAGING_BYTES + PROCESS_BYTES
    expert_total = shape.layers * shape.experts * shape.expert_bytes
    cycle = shape.layers * shape.top_k * shape.expert_bytes
    pinned = shape.trunk_bytes if shape.experts else min(shape.trunk_bytes, machine.ram_bytes - overhead)
    cache = min(expert_total, machine.ram_bytes - overhead - pinned)
    if pinned <= 0 or cache < cycle:
        smallest = overhead + (shape.trunk_bytes + cycle if shape.experts else shape.trunk_bytes // 20)
        raise ConfigError(f"{name} needs at least {spell_bytes(smallest)} of memory to page")
    spare = machine.ram_bytes - overhead - pinned - cache
    trunk = "attention, router and head" if shape.experts else "weights, the pinned share of every sweep"
    parts = [
        ("process", PROCESS_BYTES, "interpreter, libraries, activations"),
        ("KV cache", shape.kv_bytes, f"float16, {CONTEXT_TOKENS} tokens, every layer full"),
        ("read buffers", STAGING_BYTES, "direct reads land here"),
        ("pinned trunk", pinned, f"{trunk}, {shape.trunk_weight_bytes:g} bytes per weight"),
        ("expert cache", cache, f"{cache / max(1, shape.expert_bytes):.0f} of {shape.layers * shape.experts} experts"),
        ("free", spare, "for the system"),
    ]
    on_disk = [("trunk", shape.trunk_bytes, "read once, or streamed where it is not pinned")]
    on_disk += [("experts", expert_total, f"{spell_bytes(shape.expert_bytes)} each")] if shape.experts else []
    on_disk += [("embedding", 2 * shape.vocabulary * shape.width, "bfloat16; a token reads one row from disk")]
    return Plan(
        tuple(part for part in parts if part[1]),
        tuple(on_disk),
        tuple(_speeds(shape, machine, pinned, cache, hit_rate)),
    )


def _speeds(shape: ModelShape, machine: Machine, pinned: int, cache: int, hit_rate: HitRate | None) -> list[Speed]:
    if not shape.experts:
        return [_speed("pinned share of a cyclic scan", pinned / shape.trunk_bytes, shape.trunk_bytes, shape, machine)]
    cycle = shape.layers * shape.top_k * shape.expert_bytes
    total = shape.layers * shape.experts * shape.expert_bytes
    speeds = [_speed("no locality at all: cached share of the experts", cache / total, cycle, shape, machine)]
    if hit_rate is not None and shape.captured_top_k:
        ratio = shape.captured_top_k / shape.top_k
        note = f"trace captured with top-{shape.captured_top_k}, model uses top-{shape.top_k}"
        careful, hopeful = hit_rate(int(cache * ratio)), hit_rate(cache)
        speeds.append(_speed(f"{note}: cache counted in token cycles", careful, cycle, shape, machine))
        speeds.append(_speed(f"{note}: cache counted in bytes", hopeful, cycle, shape, machine))
    return speeds


def _speed(basis: str, hits: float, swept_bytes: int, shape: ModelShape, machine: Machine) -> Speed:
    missing = swept_bytes * (1 - hits)
    read = swept_bytes + (shape.trunk_bytes if shape.experts else 0)
    from_disk, from_memory = missing / machine.disk_bytes_per_s, read / machine.memory_bytes_per_s
    return Speed(basis, hits, missing, max(from_disk, from_memory), from_disk + from_memory)
