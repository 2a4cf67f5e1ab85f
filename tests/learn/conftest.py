"""A small text and a network small enough to train in a moment."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from vortex.learn.core_run import CoreRun
from vortex.learn.tokenizers import byte_tokenizer
from vortex.training.loop import TrainingOptions
from vortex.vblocks.config import CoreConfig


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def text_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    for name in range(6):
        words = " ".join(f"the {name} and the {(name * at) % 7} were {at}" for at in range(40))
        (folder / f"{name}.txt").write_text(words)
    return folder


@pytest.fixture
def small_run(text_folder: Path, tmp_path: Path):
    """A CoreRun of 6 steps into a folder of its own; keyword arguments change it."""

    def make(**changes) -> CoreRun:
        chosen = byte_tokenizer()
        config = CoreConfig(
            vocab_size=chosen.encoder.vocab_size, width=16, num_layers=1, num_heads=1, key_dim=8, value_dim=8,
            mlp_width=16, lava_key_dim=8, lava_value_dim=8, lava_slots=8, mtp_k=1, local_dropout=0.2,
        )  # fmt: skip
        options = TrainingOptions(steps=6, window=24, batch=2, save_every=2, evaluate_every=3)
        run = CoreRun(
            data=[text_folder], out=tmp_path / "run", encoder=chosen.encoder, config=config, options=options,
            bytes_of_id=chosen.bytes_of_id, tokenizer="bytes",
        )  # fmt: skip
        return dataclasses.replace(run, **changes)

    return make
