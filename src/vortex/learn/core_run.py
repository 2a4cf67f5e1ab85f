"""`vortex train-core` as a whole: text to tokens to a trained network to a checkpoint folder.

    OUT/  config.json, model.safetensors, tokenizer/   the checkpoint (vblocks/checkpoint.py)
          curve.json, curve.png                        the loss
          training/                                    tokens and states; needed only to go on

The same command again goes on where it was, also after a kill at any moment.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save
from torch import nn

from vortex.errors import ConfigError
from vortex.learn.baseline_transformer import BaselineTransformer
from vortex.learn.core_sizes import transformer_like
from vortex.records.atomic import atomic_write
from vortex.training.batches import Batches, held_out_windows
from vortex.training.curve import save_curve
from vortex.training.documents import DocumentEncoder, find_files
from vortex.training.held_out import HeldOut
from vortex.training.loop import KeptStates, Tick, Training, TrainingOptions
from vortex.training.state import Progress
from vortex.training.token_store import TokenStore, open_store
from vortex.vblocks.checkpoint import CoreCheckpoint, save_core
from vortex.vblocks.config import CoreConfig
from vortex.vblocks.network.network import CoreNetwork, weights_of

HELD_OUT_TOKENS = 32_768
WIDE_OPEN = 4.0  # a new gate's bias in a trained core: its layer keeps 97% of its say
TRANSFORMER_FILE = "transformer.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreRun:
    """What to train on what. arch: core, or transformer (the baseline of equal size; measured, not served).

    as_recall, window: of the Transformer.
    config: of the core; its vocabulary must be the encoder's. bytes_of_id: int [vocab]. tokenizer_folder: copied into
    the checkpoint. tokenizer: its name where there is no folder. dtype: of the saved weights.
    """

    data: Sequence[Path]
    out: Path
    encoder: DocumentEncoder
    config: CoreConfig
    options: TrainingOptions
    bytes_of_id: np.ndarray
    tokenizer_folder: Path | None = None
    tokenizer: str = ""
    arch: str = "core"
    limit_bytes: int = 1 << 30
    device: torch.device = dataclasses.field(default_factory=lambda: torch.device("cpu"))
    notes: dict[str, Any] = dataclasses.field(default_factory=dict)
    dtype: str = "float32"
    start_from: CoreCheckpoint | None = None
    draw: bool = False
    window: int = 0
    as_recall: bool = False
    store_folder: Path | None = None
    keep_states: bool = True


def train_core(
    run: CoreRun, *, say: Callable[[str], None] = lambda _: None, on_tick: Callable[[Tick], None] | None = None
) -> Progress:
    """Train, save the checkpoint and the curve. Raises VortexError."""
    network = build_network(run)
    say(f"{run.arch}: {sum(p.numel() for p in network.parameters()):,} weights, on {run.device}")
    progress = run_network(run, network, say=say, on_tick=on_tick)
    save_result(run, network, progress)
    return progress


def run_network(
    run: CoreRun,
    network: nn.Module,
    *,
    say: Callable[[str], None] = lambda _: None,
    on_tick: Callable[[Tick], None] | None = None,
) -> Progress:
    """Train this network, and keep its curve; the weights are the network's own afterwards."""
    folder = run.store_folder or run.out / "training" / "data"
    store = open_store(folder, find_files(run.data), run.encoder, limit_bytes=run.limit_bytes)
    say(
        f"data: {len(store.train.starts):,} documents, {len(store.train.tokens):,} tokens of "
        f"{store.train.num_bytes / 1e6:.1f} MB; held out: {len(store.held_out.tokens):,} tokens"
    )
    training = _training(run, network, store, on_tick)
    try:
        return training.run()
    finally:
        if training.progress.curve:
            save_curve(run.out, training.progress, recipe_of(run, store.fingerprint), draw=run.draw)


def build_network(run: CoreRun) -> nn.Module:
    """With weights of its own seed, or those of `start_from`, which may lack further heads and depth gates: these begin
    as they do, gates wide open. Raises ConfigError where the two do not fit."""
    if run.config.vocab_size != run.encoder.vocab_size:
        raise ConfigError(
            f"the core has {run.config.vocab_size} ids and the tokenizer {run.encoder.vocab_size}; "
            "train with the tokenizer that the core came with"
        )
    torch.manual_seed(run.options.seed)
    if run.arch == "transformer":
        return BaselineTransformer(transformer_like(run.config, window=run.window, as_recall=run.as_recall))
    network = CoreNetwork(run.config)
    if run.start_from is not None:
        _take_weights(network, run.start_from)
    return network


def _take_weights(network: CoreNetwork, checkpoint: CoreCheckpoint) -> None:
    weights = {name: torch.from_numpy(value.copy()) for name, value in checkpoint.weights.items()}
    try:
        result = network.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        raise ConfigError(f"{checkpoint.path} has other sizes than the core to train: {error}") from error
    missing = [name for name in result.missing_keys if ".gate." not in name and not name.startswith("mtp.")]
    if missing or result.unexpected_keys:
        raise ConfigError(f"{checkpoint.path} does not fit the core to train: {[*missing, *result.unexpected_keys][0]}")
    for name, parameter in network.named_parameters():
        if name in result.missing_keys and name.endswith(".gate.bias"):
            torch.nn.init.constant_(parameter, WIDE_OPEN)


def recipe_of(run: CoreRun, data: str) -> dict[str, Any]:
    """What must be equal for a run to go on. `data`: the fingerprint of its tokens."""
    options = dataclasses.asdict(run.options)
    for name in ("save_every", "save_every_s", "evaluate_every"):
        options.pop(name)
    recipe = {"arch": run.arch, "config": run.config.to_json(), "options": options, "window": run.window, "data": data}
    if run.as_recall:
        recipe["as_recall"] = True
    plain: dict[str, Any] = json.loads(json.dumps(recipe))
    return plain


def save_result(run: CoreRun, network: nn.Module, progress: Progress) -> None:
    notes = {
        **run.notes,
        "steps": progress.step,
        "tokens": progress.tokens,
        "seconds": round(progress.spent_s, 1),
        "bits_per_byte": progress.held_out[-1][1] if progress.held_out else None,
    }
    if isinstance(network, CoreNetwork):
        checkpoint = CoreCheckpoint(run.config, weights_of(network), run.tokenizer, notes)
        save_core(run.out, checkpoint, tokenizer_files=run.tokenizer_folder, dtype=run.dtype)
        return
    with atomic_write(run.out / TRANSFORMER_FILE) as file:
        tensors = {name: value.detach().float().cpu().numpy() for name, value in network.state_dict().items()}
        file.write(save(tensors, {"config": json.dumps(network.config.to_json()), "notes": json.dumps(notes)}))


def _training(run: CoreRun, network: nn.Module, store: TokenStore, on_tick: Callable[[Tick], None] | None) -> Training:
    options = run.options
    windows = held_out_windows(store.held_out, options.window, max(1, HELD_OUT_TOKENS // options.window))
    return Training(
        network,
        Batches(store.train, window=options.window, batch=options.batch, seed=options.seed),
        HeldOut(windows, run.bytes_of_id, device=run.device, batch=options.batch),
        options,
        KeptStates(run.out / "training", recipe_of(run, store.fingerprint)) if run.keep_states else None,
        device=run.device,
        on_tick=on_tick,
    )
