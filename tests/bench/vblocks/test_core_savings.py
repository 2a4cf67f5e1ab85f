"""What further heads and a depth gate save: the measurements refuse what they cannot compare, and count right."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from vortex.bench.measurement import CheckFailed, run_measurement
from vortex.bench.vblocks.depth import WINDOW, DepthMeasurement, mean_depth
from vortex.bench.vblocks.flat import random_checkpoint
from vortex.bench.vblocks.mtp import WORDS, held_out_questions
from vortex.learn.dialogues import is_asked_about
from vortex.models.opened import Opened
from vortex.tokenizer.byte_tokenizer import ByteChatFormat, ByteTokenizer
from vortex.vblocks.config import CoreConfig
from vortex.vblocks.model import VortexCore
from vortex.vblocks.weights import CoreWeights, MemorySource

TEXT = "Every gate that stays shut saves the work of a layer. " * 12
SHAPE: dict[str, Any] = {"vocab_size": ByteTokenizer().vocab_size, "width": 32, "num_layers": 3, "key_dim": 8,
                         "value_dim": 16, "mlp_width": 48, "lava_period": 0}  # fmt: skip


def core(*, native: bool | None = None, opening: float | None = None) -> Opened[VortexCore]:
    """`opening`: the bias of every gate; None: no gates."""
    config = CoreConfig(**SHAPE, depth_gating=opening is not None)
    checkpoint = random_checkpoint(config, seed=3)
    weights = {name: _opened(name, value, opening) for name, value in checkpoint.weights.items()}
    source = MemorySource(dataclasses.replace(checkpoint, weights=weights), native=native)
    return Opened(
        name="core",
        path=None,
        model=VortexCore(config, CoreWeights(source)),
        tokenizer=ByteTokenizer(),
        chat_format=ByteChatFormat(),
    )


def _opened(name: str, value: np.ndarray, opening: float | None) -> np.ndarray:
    if name.endswith("gate.bias"):
        return np.full_like(value, opening)
    return np.zeros_like(value) if name.endswith("gate.weight") else value


@pytest.mark.parametrize("native", [None, False])
@pytest.mark.parametrize(("opening", "share"), [(-3.0, 1 / 3), (3.0, 1.0)])
def test_depth_counts_the_layers_that_were_taken(native: bool | None, opening: float, share: float) -> None:
    ids = ByteTokenizer().encode(TEXT)[: WINDOW + 9]
    assert mean_depth(core(native=native, opening=opening), ids) == pytest.approx(share)


def test_a_shut_gate_is_reported() -> None:
    measurement = DepthMeasurement(core(), core(opening=-3.0), TEXT, rounds=10)
    report = run_measurement(measurement)
    assert report.figures["depth"] == {"all layers": 1.0, "depth gate": 0.3333}
    assert report.figures["bits_per_byte"]["all layers"] != report.figures["bits_per_byte"]["depth gate"]


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(CheckFailed, match="no depth gate"):
        DepthMeasurement(core(), core(), TEXT).check()


def test_held_out_questions_are_about_words_that_the_training_never_names() -> None:
    assert not [word for word in WORDS if is_asked_about(word.split()[-1])]
    assert is_asked_about("dog")
    assert len(set(held_out_questions())) == 2 * len(WORDS)
