"""What `vortex doctor --deep` does beyond looking: fetches the model, checks its arithmetic, measures the machine.

Takes about half a minute with the default model here. Writes nothing but the model's own cache.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

from vortex.bench.decode import DecodeMeasurement
from vortex.bench.fidelity import window_logits
from vortex.bench.measurement import CheckFailed, run_measurement
from vortex.bench.stored_reference import shipped_reference
from vortex.cli.composition import local_backend, open_model
from vortex.cli.doctor.checkup import Finding, Status
from vortex.cli.doctor.checkup_learning import learning
from vortex.cli.turn import Turn, run_turn
from vortex.config.loading import LoadedSettings
from vortex.kernels.memory_rate import memory_read_bytes_per_s
from vortex.machine.cores import usable_cores
from vortex.machine.gpu import find_gpus
from vortex.machine.installation import add_extra
from vortex.machine.measured import (
    disk_read_bytes_per_s,
    memory_available_bytes,
)
from vortex.machine.torch_device import torch_sees_gpu
from vortex.models.opened import Opened
from vortex.protocols import LanguageModel
from vortex.types import ChatMessage, ChatRequest

MAX_DIVERGENCE_NATS = 0.05
MIN_AGREEMENT = 0.9
MAX_GPU_DIFFERENCE = 0.02  # relative; both multiply in bfloat16
QUESTION, EXPECTED = "What is the capital of France?", "Paris"
PROMPT_TOKENS, NEW_TOKENS, RUNS = 256, 32, 3
# Bytes of weights at 4 to 5 bits, of which a token reads each once. Sizes of the usual files.
KNOWN_SIZES = (
    ("SmolLM2-135M", 98e6),
    ("Qwen3-0.6B", 0.48e9),
    ("Qwen3-1.7B", 1.3e9),
    ("Qwen3-4B", 2.6e9),
    ("Qwen3-8B", 5.0e9),
    ("Qwen3-14B", 9.0e9),
    ("Qwen3-32B", 19.8e9),
)


def examine(loaded: LoadedSettings) -> Iterator[Finding]:
    """Deep findings, each as soon as it is known. Raises VortexError where the model cannot be had."""
    opened = open_model(loaded)
    yield arithmetic(opened)
    yield decode_speed(opened)
    yield answer(opened, loaded)
    if loaded.settings.model.backend in {"local", "hf"}:
        yield learning(loaded)
    memory_rate = memory_read_bytes_per_s()
    yield Finding("memory speed", Status.OK, f"{memory_rate / 1e9:.1f} GB/s read by {usable_cores()} cores")
    yield disk_speed(opened.path)
    yield from gpu_tier()
    yield from fitting_models(memory_rate)


def arithmetic(opened: Opened[LanguageModel]) -> Finding:
    """Logits of the fixed prompt against the reference that ships with the package."""
    reference = shipped_reference(opened.name)
    if reference is None:
        return Finding("arithmetic", Status.NOTE, f"no stored reference for {opened.name}; smollm2-135m has one")
    logits = window_logits(opened.model, reference.token_ids.tolist())
    divergence, agreement = reference.compare(logits)
    detail = f"{divergence:.4f} nats from the fp32 reference, {agreement:.0%} the same top token"
    if divergence > MAX_DIVERGENCE_NATS or agreement < MIN_AGREEMENT:
        fix = f"vortex models rm {opened.name}, then run this again; if it stays, report it with this line"
        return Finding("arithmetic", Status.MISSING, detail, fix)
    return Finding("arithmetic", Status.OK, detail)


def decode_speed(opened: Opened[LanguageModel]) -> Finding:
    prompt = opened.tokenizer.encode(QUESTION * PROMPT_TOKENS, add_bos=True)[:PROMPT_TOKENS]
    measurement = DecodeMeasurement(opened.model, opened.name, prompt, NEW_TOKENS, RUNS)
    try:
        figures = run_measurement(measurement).figures
    except CheckFailed as error:
        return Finding("speed", Status.MISSING, str(error), "report it with this line")
    rates = f"{figures['prefill_tokens_per_s']} tokens/s prompt, {figures['decode_tokens_per_s']} tokens/s answer"
    return Finding("speed", Status.OK, f"{opened.name}: {rates}")


def answer(opened: Opened[LanguageModel], loaded: LoadedSettings) -> Finding:
    """The question that `vortex chat` would ask, through the whole engine. Closes the model."""
    system = loaded.settings.chat.system
    opening = (ChatMessage(role="system", content=system),) if system else ()
    messages = (*opening, ChatMessage(role="user", content=QUESTION))
    request = ChatRequest(request_id="doctor", messages=messages, max_tokens=NEW_TOKENS)
    turn = Turn()

    async def ask() -> None:
        backend = local_backend(opened, loaded)
        try:
            await run_turn(backend, request, turn, lambda _: None)
        finally:
            await backend.close()

    asyncio.run(ask())
    said = " ".join(turn.text.split())
    if shipped_reference(opened.name) is not None and EXPECTED not in turn.text:
        return Finding("answer", Status.MISSING, f"{QUESTION} {said!r} lacks {EXPECTED}", "report it with this line")
    return Finding("answer", Status.OK, f"{QUESTION} {said}" if opened.path else "the engine answered")


def disk_speed(file: Path | None) -> Finding:
    """Reads the model's file, or a scratch one where there is none."""
    if file is not None and file.is_dir():
        file = max(file.glob("*.safetensors"), key=lambda one: one.stat().st_size)
    if file is None:
        with tempfile.NamedTemporaryFile() as scratch:
            scratch.write(bytes(64 << 20))
            scratch.flush()
            return disk_speed(Path(scratch.name))
    rate = disk_read_bytes_per_s(file)
    how = "past the page cache" if rate.direct else "through the page cache: the disk itself may be slower"
    return Finding("disk speed", Status.OK, f"{rate.bytes_per_s / 1e9:.2f} GB/s read, {how}")


def gpu_tier() -> Iterator[Finding]:
    """Where a GPU is and torch sees it: a small random model, resident and paged there, and on the CPU."""
    if not find_gpus():
        return
    if not torch_sees_gpu():
        detail = "a GPU is here, but no torch that sees it"
        yield Finding("gpu", Status.NOTE, detail, f"install torch with CUDA: {add_extra('torch')}")
        return
    from vortex.bench.memory.device_tiers import SMALL, SMALL_WITH_EXPERTS, compare_tiers

    for name, config in (("dense", SMALL), ("experts", SMALL_WITH_EXPERTS)):
        with tempfile.TemporaryDirectory() as folder:
            agreement = compare_tiers("cuda", config, Path(folder) / "tiny.c3")
        right = agreement.same_bits and agreement.cpu_difference < MAX_GPU_DIFFERENCE
        same = "the same bits" if agreement.same_bits else "other bits"
        detail = f"{name}: paged gives {same} as resident, {agreement.cpu_difference:.1%} from the CPU"
        fix = "" if right else "report it with this line; meanwhile `--set runtime.device=cpu`"
        yield Finding("gpu", Status.OK if right else Status.MISSING, detail, fix)


def fitting_models(memory_rate: float) -> Iterator[Finding]:
    """What this machine can run: sizes against free memory, and memory's rate as the ceiling of decoding."""
    available = memory_available_bytes()
    fitting = [(name, memory_rate / size) for name, size in KNOWN_SIZES if size * 1.2 < available]
    if not fitting:
        yield Finding("can run", Status.NOTE, "no known model fits the free memory", "close other programs")
        return
    listed = ", ".join(f"{name} (up to {rate:.{0 if rate >= 10 else 1}f} tokens/s)" for name, rate in fitting)
    yield Finding("can run", Status.OK, f"at 4 bits, by free memory and its speed: {listed}")
