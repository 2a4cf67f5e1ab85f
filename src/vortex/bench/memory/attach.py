"""`vortex bench attach`: seconds per token of a transformers model under a budget, beside accelerate and AirLLM.

All run the same safetensors folder in the same dtype with the same budget for weights, each in a process of its own
inside a memory limit (page cache included) of the budget and 200 MB beside the started process, and take turns.
Every `--codec` is a process of ours; the bound is its missing bytes / the disk's direct rate, measured in the same
rounds. Without a folder, a Llama-shaped model with random weights is written for the run. Check, before anything is
timed: accelerate and our codecs that do not round give the same logits, bit for bit; for the others, how far they lie
from them is printed.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vortex.bench.measurement import CheckFailed
from vortex.bench.memory.limit import drop_page_cache, memory_limit
from vortex.bench.peer import Peer
from vortex.bench.report import Report
from vortex.c3.format.sizes import spell_bytes

# What a process that has started may take beside the weights. Little, or the page cache keeps what was offloaded and
# neither side reads its disk. What it touched before it joined its limit (the libraries) is not counted.
PROCESS_BYTES = 200 * 10**6
SHAPES = {"1b": (2048, 5632, 10), "8b": (4096, 14336, 8)}  # width, feed-forward's width, layers: 0.9 and 3.6 GB
EXACT = ("raw", "lossless", "accelerate")
OUR_FORWARDS = 3


@dataclass(slots=True)
class Contender:
    """One process under its limit."""

    name: str
    worker: Peer
    loaded: dict[str, Any]
    logits: np.ndarray
    seconds: list[float] = field(default_factory=list)

    @property
    def median_s(self) -> float:
        return statistics.median(self.seconds)


@dataclass(slots=True)
class AttachMeasurement:
    """folder: a safetensors model, or None for a random one of `shape`. budget_bytes: of weights in memory.

    rows: tokens in one forward. airllm_python: an interpreter with airllm.
    """

    budget_bytes: int
    folder: Path | None = None
    codecs: Sequence[str] = ("raw",)
    shape: str = "1b"
    rows: int = 1
    runs: int = 3
    threads: int = 2
    with_peer: bool = True
    airllm_python: str | None = None

    def check(self) -> None:
        """What is timed is compared as it is loaded: see `same_bits`."""

    def measure(self) -> Report:
        with tempfile.TemporaryDirectory(prefix="vortex-bench-", dir=Path.cwd()) as work:
            folder = self.folder or _random_model(Path(work) / "model", self.shape)
            with contextlib.ExitStack() as stack:
                packer = stack.enter_context(Peer("transformers", sys.executable))
                for codec in self.codecs:
                    packer.ask("pack", folder=str(folder), work=work, budget_bytes=self.budget_bytes, codec=codec)
                drop_page_cache()  # what was written or read before belongs to no limit
                ours = [self._start(stack, codec, "transformers", folder, work) for codec in self.codecs]
                peers = [self._start(stack, "accelerate", "transformers", folder, work)] if self.with_peer else []
                if self.airllm_python:
                    peers.append(self._start(stack, "AirLLM", "airllm", folder, work))
                same_bits({each.name: each.logits for each in [*ours, *peers]})
                disk_rates: list[float] = []
                for _ in range(self.runs):
                    disk_rates.append(packer.ask("disk_rate")["disk"])
                    self._one_round(ours, peers)
                return self._report(ours, peers, statistics.median(disk_rates))

    def _start(self, stack: contextlib.ExitStack, name: str, program: str, folder: Path, work: str) -> Contender:
        limit = stack.enter_context(memory_limit(self.budget_bytes + PROCESS_BYTES))
        python = self.airllm_python if program == "airllm" and self.airllm_python else sys.executable
        worker = stack.enter_context(Peer(program, python))
        limit.add(worker.process_id)
        loaded = worker.ask(
            "load", kind=name, folder=str(folder), work=work, budget_bytes=self.budget_bytes, threads=self.threads
        )
        return Contender(name, worker, loaded, np.load(loaded["logits"]))

    def _one_round(self, ours: Sequence[Contender], peers: Sequence[Contender]) -> None:
        for each in ours:
            each.worker.ask("time", forwards=1, rows=self.rows)  # the ring is full of the next forward again
            each.seconds += each.worker.ask("time", forwards=OUR_FORWARDS, rows=self.rows)["seconds"]
        for each in peers:
            each.seconds += each.worker.ask("time", forwards=1, rows=self.rows)["seconds"]

    def _report(self, ours: Sequence[Contender], peers: Sequence[Contender], disk: float) -> Report:
        rows, figures = [], {}
        for each in [*ours, *peers]:
            missing = int(each.loaded.get("fetch_bytes", 0))
            bound = missing / disk
            compared = {f"{peer.name}_ratio": peer.median_s / each.median_s for peer in peers if each in ours}
            off = relative_difference(each.logits, ours[0].logits)
            label = f"vortex.c3.attach, {each.name}" if each in ours else f"{each.name} ({each.worker.version})"
            rows.append([
                label, f"{each.median_s:.3f}", spell_bytes(missing) if each in ours else "-",
                f"{bound:.3f}" if missing else "-", f"{100 * bound / each.median_s:.0f}%" if missing else "-",
                " / ".join(f"{ratio:.1f}x" for ratio in compared.values()) or "-", f"{100 * off:.2g}%",
            ])  # fmt: skip
            figures[each.name] = {
                "seconds": each.seconds, "seconds_per_forward": each.median_s, "missing_bytes": missing,
                "resident_bytes": each.loaded.get("resident_bytes"), "bound_s": bound, "logits_off": off, **compared,
            }  # fmt: skip
        weights = int(ours[0].loaded["weight_bytes"])
        tokens = "a token" if self.rows == 1 else f"{self.rows} tokens"
        return Report(
            name="attach",
            title=f"{spell_bytes(weights)} of linears as {ours[0].name}, a budget of {spell_bytes(self.budget_bytes)}, "
            f"disk {disk / 1e9:.2f} GB/s: seconds for {tokens}",
            columns=["", "seconds", "read", "bound", "of it", "peers / ours", "logits off"],
            rows=rows,
            figures={
                "budget_bytes": self.budget_bytes, "weight_bytes": weights, "rows": self.rows,
                "disk_bytes_per_s": disk, "contenders": figures,
            },
            bars={row[0]: float(row[1]) for row in rows},
            bars_unit=f"seconds for {tokens}",
        )  # fmt: skip


def same_bits(logits: dict[str, np.ndarray]) -> None:
    """Raises CheckFailed where two that promise the same bits differ."""
    exact = {name: each for name, each in logits.items() if name in EXACT}
    first = next(iter(exact), None)
    for name, each in exact.items():
        if not np.array_equal(each, exact[str(first)]):
            raise CheckFailed(f"{first} and {name} give different logits")


def relative_difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Root mean square of the difference, of the second's."""
    return float(np.sqrt(np.mean((ours - theirs) ** 2) / np.mean(theirs**2)))


def _random_model(folder: Path, shape: str) -> Path:
    """A Llama shape in bfloat16, and a tokenizer, without which AirLLM does not start."""
    import torch
    import transformers
    from tokenizers import Tokenizer, models
    from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

    width, ffn_width, layers = SHAPES[shape]
    config = LlamaConfig(
        hidden_size=width, intermediate_size=ffn_width, num_hidden_layers=layers, num_attention_heads=32,
        num_key_value_heads=8, vocab_size=8192, max_position_embeddings=2048,
    )  # fmt: skip
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)
    words = Tokenizer(models.WordLevel({f"w{number}": number for number in range(8192)}, "w0"))
    PreTrainedTokenizerFast(tokenizer_object=words).save_pretrained(folder)
    return folder
