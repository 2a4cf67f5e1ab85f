"""`vortex bench attach`: seconds per token of a transformers model under a budget, beside accelerate's disk offload.

Both run the same safetensors folder in the same dtype with the same budget for weights, each in a process of its own
inside a memory limit (page cache included) of the budget and 200 MB beside the started process, and take turns. The
bound is missing bytes / the disk's direct rate, measured in the same rounds. Without a folder, a Llama-shaped model
with random weights is written for the run. Check: both give the same logits, bit for bit.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from vortex.bench.measurement import CheckFailed
from vortex.bench.memory_limit import drop_page_cache, memory_limit
from vortex.bench.peer import Peer
from vortex.bench.report import Report
from vortex.c3.sizes import spell_bytes

# What a process that has started may take beside the weights. Little, or the page cache keeps what was offloaded and
# neither side reads its disk. What it touched before it joined its limit (the libraries) is not counted.
PROCESS_BYTES = 200 * 10**6
LAYERS = 10  # of the random model: 103 MB each


@dataclass(slots=True)
class AttachMeasurement:
    """folder: a safetensors model, or None for a random one. budget_bytes: of weights in memory."""

    budget_bytes: int
    folder: Path | None = None
    runs: int = 3
    threads: int = 2
    with_peer: bool = True
    _digests: dict[str, str] = field(default_factory=dict)

    def check(self) -> None:
        """What is timed is compared as it is loaded: see `_same_bits`."""

    def measure(self) -> Report:
        with tempfile.TemporaryDirectory(prefix="vortex-bench-", dir=Path.cwd()) as work:
            folder = self.folder or _random_model(Path(work) / "model")
            with Peer("transformers", sys.executable) as packer:
                packer.ask("pack", folder=str(folder), work=work, budget_bytes=self.budget_bytes)
            drop_page_cache()  # what was written or read before belongs to no limit
            with contextlib.ExitStack() as stack:
                ours, sizes = self._start(stack, "attach", folder, work)
                peer = self._start(stack, "accelerate", folder, work)[0] if self.with_peer else None
                self._same_bits()
                return self._rounds(ours, peer, sizes)

    def _start(self, stack: contextlib.ExitStack, kind: str, folder: Path, work: str) -> tuple[Peer, dict[str, object]]:
        limit = stack.enter_context(memory_limit(self.budget_bytes + PROCESS_BYTES))
        worker = stack.enter_context(Peer("transformers", sys.executable))
        limit.add(worker.process_id)
        loaded = worker.ask(
            "load", kind=kind, folder=str(folder), work=work, budget_bytes=self.budget_bytes, threads=self.threads
        )
        self._digests[kind] = str(loaded["digest"])
        return worker, loaded

    def _same_bits(self) -> None:
        if len(set(self._digests.values())) > 1:
            raise CheckFailed(f"the two give different logits: {self._digests}")

    def _rounds(self, ours: Peer, peer: Peer | None, sizes: dict[str, object]) -> Report:
        our_s: list[float] = []
        peer_s: list[float] = []
        rates: list[float] = []
        for _ in range(self.runs):
            rates.append(ours.ask("disk_rate")["disk"])
            ours.ask("time", forwards=1)  # the ring is full of the next forward again
            our_s += ours.ask("time", forwards=3)["seconds"]
            if peer is not None:
                peer_s += peer.ask("time", forwards=1)["seconds"]
        missing, weights, resident = (int(str(sizes[key])) for key in ("fetch_bytes", "weight_bytes", "resident_bytes"))
        mine, bound = statistics.median(our_s), missing / statistics.median(rates)
        theirs = statistics.median(peer_s) if peer_s else None
        rows = [["vortex.c3.attach", f"{mine:.3f}", "1.00x"]]
        if peer is not None and theirs is not None:
            rows.append([f"accelerate, disk offload ({peer.version})", f"{theirs:.3f}", f"{theirs / mine:.2f}x"])
        rows.append(["bound: missing bytes / disk", f"{bound:.3f}", f"{bound / mine:.2f}x"])
        return Report(
            name="attach",
            title=f"{spell_bytes(weights)} of linears, {spell_bytes(resident)} resident, {spell_bytes(missing)} read "
            "per token: seconds per token",
            columns=["", "seconds", "of ours"],
            rows=rows,
            figures={
                "budget_bytes": self.budget_bytes, "weight_bytes": weights, "resident_bytes": resident,
                "missing_bytes": missing, "disk_bytes_per_s": statistics.median(rates), "bound_s": bound,
                "seconds_per_token": mine, "peer_seconds_per_token": theirs,
                "peer_ratio": theirs / mine if theirs else None, "share_of_bound": bound / mine,
                "peer": peer.version if peer else None, "same_bits": self.with_peer,
            },
            bars={row[0]: float(row[1]) for row in rows},
            bars_unit="seconds per token",
        )  # fmt: skip


def _random_model(folder: Path) -> Path:
    """A Llama shape in bfloat16, a layer after the other, so that it never lies in memory twice."""
    import torch
    import transformers
    from transformers import AutoModelForCausalLM, LlamaConfig

    config = LlamaConfig(
        hidden_size=2048, intermediate_size=5632, num_hidden_layers=LAYERS, num_attention_heads=32,
        num_key_value_heads=8, vocab_size=8192, max_position_embeddings=2048,
    )  # fmt: skip
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)
    return folder
