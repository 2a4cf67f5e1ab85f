"""What a token costs after 1k, 8k, 32k and 128k others: a core, and a Transformer of the same size beside it.

Both are our own native paths with random weights of the same widths; what is measured does not depend on them. The
core really reads the whole sequence; the Transformer's cache is given its length without being filled, since attention
takes as long over any keys. Lengths and models take turns token by token, so that a busy machine slows all alike.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vortex.bench.measurement import CheckFailed
from vortex.bench.report import Curves, Report
from vortex.c3.format.folder import C3Folder, C3Writer
from vortex.c3.sources import ResidentSource
from vortex.models.decoder.model import Decoder, DecoderState
from vortex.models.decoder.native_compute import NativeCompute
from vortex.models.decoder.native_pack import pack
from vortex.models.files.hf_config import from_hf
from vortex.models.files.random_checkpoint import RandomCheckpoint
from vortex.protocols import LanguageModel
from vortex.types import SequenceState, Span, Want
from vortex.vblocks.checkpoint import CoreCheckpoint
from vortex.vblocks.config import CoreConfig
from vortex.vblocks.layout import tensor_shapes
from vortex.vblocks.model import VortexCore
from vortex.vblocks.weights import CoreWeights, MemorySource

LENGTHS = (1024, 8192, 32768, 131072)
FLAT = 0.05  # how far a length may lie from the shortest one
SHAPE = CoreConfig(
    vocab_size=4096,
    width=256,
    num_layers=4,
    num_heads=4,
    key_dim=32,
    value_dim=64,
    mlp_width=704,
    lava_heads=4,
    lava_key_dim=32,
    lava_value_dim=64,
    lava_slots=256,
    local_window=0,
)
FORM = "bf16"  # of both models' weights
WARM_UP = 5  # rounds that do not count
HEADS = 4  # of the Transformer beside, width 64 each


@dataclass(frozen=True, slots=True)
class _Rider:
    """A model at a length, and what a token took there."""

    name: str
    length: int
    model: LanguageModel
    state: SequenceState
    seconds: list[float]


def random_checkpoint(config: CoreConfig, seed: int = 0) -> CoreCheckpoint:
    """Weights that keep activations near one; nothing else is promised of them."""
    random = np.random.default_rng(seed)
    weights = {}
    for name, shape in tensor_shapes(config).items():
        values = random.standard_normal(shape, np.float32)
        if len(shape) == 2:
            values *= shape[1] ** -0.5
        elif name.endswith(("norm.weight", ".norm")):
            values = np.ones(shape, np.float32)
        weights[name] = values
    return CoreCheckpoint(config, weights)


def random_core(config: CoreConfig, seed: int = 0) -> VortexCore:
    return VortexCore(config, CoreWeights(MemorySource(random_checkpoint(config, seed), FORM)))


class FlatMeasurement:
    def __init__(self, *, lengths: tuple[int, ...] = LENGTHS, rounds: int = 200, config: CoreConfig = SHAPE) -> None:
        self.lengths, self.rounds, self.config = lengths, rounds, config

    def check(self) -> None:
        """Decoding after a prompt in chunks gives the bits of the prompt token by token."""
        model = random_core(self.config)
        ids = np.random.default_rng(1).integers(0, self.config.vocab_size, 100).tolist()
        whole, pieces = model.new_state(), model.new_state()
        expected = model.sweep([Span(whole, ids, Want.ALL_LOGITS)]).logits
        for token, row in zip(ids, expected, strict=True):
            logits = model.sweep([Span(pieces, [token])]).logits[0]
            pieces.commit(1)
            if not np.array_equal(logits, row):
                raise CheckFailed("a core's step differs from its sweep")

    def measure(self) -> Report:
        core = random_core(self.config)
        riders = self._core_riders(core)
        with tempfile.TemporaryDirectory() as folder:
            transformer = random_transformer(self.config, Path(folder), self.lengths[-1] + 2)
            riders += self._transformer_riders(transformer)
            for round_number in range(self.rounds + WARM_UP):
                for model in (core, transformer):
                    own = [rider for rider in riders if rider.model is model]
                    begin = round_number % len(own)
                    _one_token(model, own[begin - 1].state)  # the other model's weights and keys leave the caches
                    for rider in (*own[begin:], *own[:begin]):
                        seconds = _one_token(rider.model, rider.state)
                        if round_number >= WARM_UP:
                            rider.seconds.append(seconds)
        return self._report(riders)

    def _core_riders(self, model: VortexCore) -> list[_Rider]:
        state, riders = model.new_state(), []
        random = np.random.default_rng(2)
        for length in self.lengths:
            while state.length < length:
                ids = random.integers(0, self.config.vocab_size, min(256, length - state.length)).tolist()
                model.sweep([Span(state, ids, Want.NOTHING)])
                state.commit(len(ids))
            riders.append(_Rider("core", length, model, state.snapshot(), []))
        return riders

    def _transformer_riders(self, model: LanguageModel) -> list[_Rider]:
        riders = []
        for length in self.lengths:
            empty = model.new_state()
            assert isinstance(empty, DecoderState), "the Transformer is a decoder"
            empty.cache.reserve(length + 1)
            riders.append(_Rider("Transformer", length, model, DecoderState(empty.cache, length), []))
        return riders

    def _report(self, riders: list[_Rider]) -> Report:
        milliseconds: dict[str, dict[int, float]] = {rider.name: {} for rider in riders}
        state_bytes: dict[str, dict[int, int]] = {rider.name: {} for rider in riders}
        for rider in riders:
            milliseconds[rider.name][rider.length] = 1e3 * statistics.median(rider.seconds)
            state_bytes[rider.name][rider.length] = rider.state.resident_bytes
        cores = [rider for rider in riders if rider.name == "core"]
        ratios = {rider.length: _paired_ratio(rider, cores[0]) for rider in cores}
        spread = max(abs(ratio - 1) for ratio in ratios.values())
        same_bytes = len(set(state_bytes["core"].values())) == 1
        rows = [
            [name, *(f"{milliseconds[name][n]:.3f} ms, {state_bytes[name][n] / 1e6:.2f} MB" for n in self.lengths)]
            for name in milliseconds
        ]
        verdict = f"core within {spread:.1%} of its time at {self.lengths[0]:,}; state bytes equal: {same_bytes}"
        return Report(
            name="core flat",
            title=f"A token after so many others, and the state's size: {verdict}",
            columns=["model", *(f"{n:,}" for n in self.lengths)],
            rows=rows,
            figures={
                "ms_per_token": milliseconds,
                "state_bytes": state_bytes,
                "core_ratio_to_shortest": ratios,
                "core_spread": round(spread, 4),
                "is_flat": spread <= FLAT and same_bytes,
            },
            curves=Curves("tokens before", "ms per token", {n: list(ms.items()) for n, ms in milliseconds.items()}),
        )


def _paired_ratio(rider: _Rider, shortest: _Rider) -> float:
    """The median over rounds of what this length took, to what the shortest took right before."""
    pairs = zip(rider.seconds, shortest.seconds, strict=True)
    return round(statistics.median(ours / theirs for ours, theirs in pairs), 4)


def _one_token(model: LanguageModel, state: SequenceState) -> float:
    started = time.perf_counter()
    model.sweep([Span(state, [5])])
    seconds = time.perf_counter() - started
    state.commit(0)  # the length stays what it is
    return seconds


def random_transformer(core: CoreConfig, folder: Path, context_length: int) -> LanguageModel:
    """A Llama of the core's width, depth and MLP width, weights in the same form, on the native core."""
    values = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": core.width,
        "intermediate_size": core.mlp_width,
        "num_hidden_layers": core.num_layers,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "head_dim": core.width // HEADS,
        "vocab_size": core.vocab_size,
        "max_position_embeddings": context_length,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "tie_word_embeddings": True,
    }
    config = from_hf(values, "the Transformer beside")
    with C3Writer(folder / "transformer.c3", {}) as writer:
        pack(RandomCheckpoint(config), writer, FORM)
    return Decoder(config, NativeCompute(config, ResidentSource(C3Folder(folder / "transformer.c3")), threads=0))
