"""`vortex bench device-tier`: seconds per sweep of a random dense model on a device, resident and paged.

Check: paged and resident logits are the same bits there, dense and with experts, and near the CPU's. Measured: all
weights dense bfloat16 on the device; all weights there but packed; half of them paged from the disk; half of them paged
from ordinary memory. Beside it, what a copy from page-locked memory to the device gives.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from vortex.bench.measurement import CheckFailed
from vortex.bench.report import Report
from vortex.c3.format.sizes import spell_bytes

if TYPE_CHECKING:
    from vortex.c3.format.folder import C3Folder
    from vortex.models.decoder.model import Decoder
    from vortex.models.files.decoder_config import DecoderConfig

MAX_DIFFERENCE = 0.02
COPY_BYTES = 256 << 20
BLOCK_ROWS = 8


@dataclass(frozen=True, slots=True)
class DeviceTierMeasurement:
    """device: as torch names it. layers: of an 8B-shaped model."""

    device: str = "cuda"
    layers: int = 6
    width: int = 4096
    runs: int = 5

    def check(self) -> None:
        from vortex.bench.memory.device_tiers import SMALL, SMALL_WITH_EXPERTS, compare_tiers

        for config in (SMALL, SMALL_WITH_EXPERTS):
            with tempfile.TemporaryDirectory() as folder:
                agreement = compare_tiers(self.device, config, Path(folder) / "tiny.c3")
            if not agreement.same_bits:
                raise CheckFailed(f"{config.architecture}: paged and resident differ on {self.device}")
            if agreement.cpu_difference > MAX_DIFFERENCE:
                raise CheckFailed(f"{config.architecture}: {agreement.cpu_difference:.1%} from the CPU's logits")

    def measure(self) -> Report:
        from vortex.bench.memory.device_tiers import pack_random, smallest_budget, unit_bytes

        config = self._config()
        with tempfile.TemporaryDirectory() as temporary:
            folder = pack_random(config, Path(temporary) / "model.c3", quantised=True)
            total = sum(unit_bytes(folder).values())
            half = max(total // 2, smallest_budget(folder))
            rows: list[list[str]] = []
            figures: dict[str, object] = {"upload_gb_per_s": round(self._copy_rate() / 1e9, 2)}
            for name, budget, host in (
                ("resident, dense bf16", 0, 0),
                ("resident, packed", total, 0),
                ("half paged from disk", half, 0),
                ("half paged from memory", half, total),
            ):
                row, figures[name] = self._measured(folder, name, budget, host)
                rows.append(row)
        return Report(
            name="device-tier",
            title=f"{self.layers} layers of an 8B-shaped random Q4_1 model ({spell_bytes(total)}) on {self.device}",
            columns=["weights", "1 row ms", f"{BLOCK_ROWS} rows ms", "missing", "uploaded per sweep", "GB/s"],
            rows=rows,
            figures=figures,
        )

    def _config(self) -> DecoderConfig:
        from vortex.bench.memory.device_tiers import SMALL

        heads = self.width // 128
        return replace(
            SMALL, architecture="llama", qk_norm=False, num_layers=self.layers, width=self.width,
            ffn_width=self.width * 7 // 2, num_heads=heads, num_kv_heads=heads // 4, head_width=128, vocab_size=32_000,
        )  # fmt: skip

    def _measured(self, folder: C3Folder, name: str, budget: int, host: int) -> tuple[list[str], dict[str, float]]:
        from vortex.bench.memory.device_tiers import device_source
        from vortex.models.decoder.model import Decoder
        from vortex.models.decoder.torch_compute import TorchCompute

        config = self._config()
        source = device_source(folder, self.device, budget, host_bytes=host)
        model = Decoder(config, TorchCompute(config, source, device=self.device))
        self._seconds(model, 1, 2)  # the ring is full, the host tier too
        before = source.counters().get("bytes_h2d", 0)
        one = self._seconds(model, 1, self.runs)
        uploaded = (source.counters().get("bytes_h2d", 0) - before) / self.runs
        block = self._seconds(model, BLOCK_ROWS, self.runs)
        missing = source.bytes_to_fetch
        model.close()
        row = [name, f"{1e3 * one:.2f}", f"{1e3 * block:.2f}", spell_bytes(missing), spell_bytes(round(uploaded)),
               f"{uploaded / one / 1e9:.2f}"]  # fmt: skip
        return row, {"one_row_s": one, "block_s": block, "missing_bytes": missing, "uploaded_bytes": uploaded}

    def _seconds(self, model: Decoder, num_rows: int, runs: int) -> float:
        from vortex.types import Span, Want

        state, seconds = model.new_state(), []
        for _ in range(runs):
            started = time.perf_counter()
            model.sweep([Span(state, [5] * num_rows, Want.LAST_LOGITS)])  # logits come back: the device is done
            seconds.append(time.perf_counter() - started)
            state.commit(0)
        state.close()
        return statistics.median(seconds)

    def _copy_rate(self) -> float:
        from vortex.c3.torch.device_memory import DeviceMemory

        memory = DeviceMemory(self.device)
        target, staging = memory.region(COPY_BYTES), memory.staging(COPY_BYTES)

        def copy() -> None:
            memory.upload(target, staging, COPY_BYTES)
            memory.reuse(staging)

        return COPY_BYTES / _best(copy, 5)


def _best(work: Callable[[], None], runs: int) -> float:
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds)
