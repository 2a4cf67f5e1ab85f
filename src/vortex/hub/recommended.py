"""Which model a machine should run, for what: a short list of open ones, and the best of them that fits.

Sizes are those of the published files at the quantisation that is named, rounded; what a token reads is the whole file,
or of a mixture of experts about its active share. The speed that follows is a ceiling: memory's rate over these bytes.
Better stands for better answers by what their makers publish, not by measurements of our own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

PURPOSES = ("chat", "code", "tools", "spanish")
SPARE_BYTES = 600e6  # beside the weights: the process, and the KV cache of an ordinary conversation
ROOM = 1.05  # of memory over the weights
ENOUGH_TOKENS_PER_S = 6.0  # about the speed of reading; a better model that is slower is a nuisance


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """bytes_per_token: that one token reads. quality: by rank among these, for each purpose it is good for."""

    name: str
    size_bytes: float
    bytes_per_token: float
    licence: str
    quality: dict[str, int]


def _dense(name: str, size_bytes: float, licence: str, **quality: int) -> Candidate:
    return Candidate(name=name, size_bytes=size_bytes, bytes_per_token=size_bytes, licence=licence, quality=quality)


CANDIDATES: tuple[Candidate, ...] = (
    _dense("smollm2-135m", 98e6, "Apache-2.0", chat=1),
    _dense("qwen2.5-coder-0.5b", 491e6, "Apache-2.0", chat=2, code=2),
    _dense("Qwen/Qwen3-0.6B-GGUF:Q8_0", 639e6, "Apache-2.0", chat=3, tools=2, spanish=2),
    _dense("qwen2.5-coder-1.5b", 1.117e9, "Apache-2.0", chat=4, code=4, tools=3, spanish=3),
    _dense("Qwen/Qwen3-1.7B-GGUF:Q8_0", 1.834e9, "Apache-2.0", chat=5, code=3, tools=5, spanish=4),
    _dense("Qwen/Qwen3-4B-GGUF:Q4_K_M", 2.497e9, "Apache-2.0", chat=7, code=5, tools=7, spanish=6),
    _dense("Qwen/Qwen2.5-Coder-7B-Instruct-GGUF:Q4_K_M", 4.683e9, "Apache-2.0", code=7),
    _dense("Qwen/Qwen3-8B-GGUF:Q4_K_M", 5.028e9, "Apache-2.0", chat=8, code=6, tools=8, spanish=8),
    _dense("Qwen/Qwen3-14B-GGUF:Q4_K_M", 9.002e9, "Apache-2.0", chat=9, code=8, tools=9, spanish=9),
    Candidate(
        name="ggml-org/gpt-oss-20b-GGUF:MXFP4",
        size_bytes=12.11e9,
        bytes_per_token=2.4e9,
        licence="Apache-2.0",
        quality={"chat": 10, "code": 9, "tools": 10, "spanish": 7},
    ),
    Candidate(
        name="Qwen/Qwen3-30B-A3B-GGUF:Q4_K_M",
        size_bytes=18.557e9,
        bytes_per_token=2.2e9,
        licence="Apache-2.0",
        quality={"chat": 11, "code": 10, "tools": 11, "spanish": 10},
    ),
)


@dataclass(frozen=True, slots=True)
class Machine:
    """What counts of a machine. disk_bytes: free where models are kept."""

    memory_bytes: float
    disk_bytes: float
    memory_bytes_per_s: float


@dataclass(frozen=True, slots=True)
class Advice:
    """tokens_per_s: at most. is_here: nothing is to be fetched."""

    purpose: str
    candidate: Candidate
    tokens_per_s: float
    is_here: bool


def fits(candidate: Candidate, machine: Machine, here: Sequence[str]) -> bool:
    in_memory = candidate.size_bytes * ROOM + SPARE_BYTES <= machine.memory_bytes
    return in_memory and (candidate.name in here or candidate.size_bytes + SPARE_BYTES / 4 <= machine.disk_bytes)


def tokens_per_s(candidate: Candidate, machine: Machine) -> float:
    return machine.memory_bytes_per_s / candidate.bytes_per_token


def advise(machine: Machine, here: Sequence[str], purposes: Sequence[str] = PURPOSES) -> list[Advice]:
    """The best that fits for each purpose, of those that are fast enough; the fastest where none is. Purposes for which
    nothing fits are left out."""
    advice = []
    for purpose in purposes:
        able = [one for one in CANDIDATES if purpose in one.quality and fits(one, machine, here)]
        fast = [one for one in able if tokens_per_s(one, machine) >= ENOUGH_TOKENS_PER_S]
        if not able:
            continue
        best = max(fast, key=lambda one: one.quality[purpose]) if fast else min(able, key=lambda c: c.bytes_per_token)
        advice.append(Advice(purpose, best, tokens_per_s(best, machine), best.name in here))
    return advice


def better_than(name: str, machine: Machine, here: Sequence[str], known: Sequence[str]) -> Advice | None:
    """The best for a chat among `known` names that beats the one in use; None where nothing fits."""
    rank = next((one.quality.get("chat", 0) for one in CANDIDATES if one.name == name), 0)
    able = [one for one in CANDIDATES if one.name in known and fits(one, machine, here)]
    able = [one for one in able if one.quality.get("chat", 0) > rank]
    fast = [one for one in able if tokens_per_s(one, machine) >= ENOUGH_TOKENS_PER_S]
    if not fast:
        return None
    best = max(fast, key=lambda one: one.quality["chat"])
    return Advice("chat", best, tokens_per_s(best, machine), best.name in here)
