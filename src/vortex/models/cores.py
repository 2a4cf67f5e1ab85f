"""From a V-Blocks core's folder to a model of vblocks/, with the tokenizer it was trained with.

Without a budget the checkpoint's weights are packed in memory (a core is small); with one they are packed once into a
`.c3` folder in the cache and paged. Needs no torch.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vortex.c3.format.folder import C3Folder, C3Writer
from vortex.errors import ConfigError, ModelFileError
from vortex.kernels import dispatch
from vortex.models.opened import LoadOptions, Opened
from vortex.models.weight_source import fingerprint, weight_source
from vortex.protocols import ChatFormat, Tokenizer
from vortex.vblocks.checkpoint import CoreCheckpoint, read_core, read_core_head, weights_path
from vortex.vblocks.config import CoreConfig
from vortex.vblocks.memory import load_memory
from vortex.vblocks.model import VortexCore
from vortex.vblocks.step.lava_slots import LavaSlots
from vortex.vblocks.weights import CoreWeights, MemorySource, write_core

BYTES = "bytes"  # the tokenizer without files
PACKED_ONCE = 64 << 20  # bytes of a checkpoint whose packed form is kept: to pack it takes seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreOptions:
    """changes: fields of CoreConfig that the settings replace. state_path: LAVA's memory across sessions; None: none.

    compile flags are for torch and mean nothing to the step form here.
    """

    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    state_path: Path | None = None


def open_core(path: Path, options: LoadOptions, core: CoreOptions | None = None) -> Opened[VortexCore]:
    """`path`: what `read_core` takes. Raises ModelNotFound, ModelFileError, ConfigError."""
    core = core or CoreOptions()
    if path.is_dir() and (options.budget_bytes or weights_path(path).stat().st_size > PACKED_ONCE):
        source = weight_source(_packed(path, options), options)
        checkpoint = read_core_head(path)
    else:
        checkpoint = read_core(path)
        source = MemorySource(checkpoint, options.form)
    config = changed_config(checkpoint.config, core.changes)
    tokenizer, chat_format = tokenizer_of(checkpoint)
    if tokenizer.vocab_size > config.vocab_size:
        raise ModelFileError(
            f"{path}: its tokenizer has {tokenizer.vocab_size} ids and the core {config.vocab_size}; "
            "restore the tokenizer that it was trained with"
        )
    memory = _memory(core.state_path, config)
    model = VortexCore(config, CoreWeights(source), memory=memory, memory_path=core.state_path)
    return Opened(
        name=path.name,
        path=path,
        model=model,
        tokenizer=tokenizer,
        chat_format=chat_format,
        licence=checkpoint.notes.get("licence"),
    )


def changed_config(trained: CoreConfig, changes: Mapping[str, Any]) -> CoreConfig:
    """The trained configuration as the settings want it. Raises ConfigError."""
    heads = changes.get("mtp_k", trained.mtp_k)
    if heads > trained.mtp_k:
        raise ConfigError(f"this core was trained with {trained.mtp_k} further heads; set core.mtp_k to that at most")
    return dataclasses.replace(trained, **changes)


def tokenizer_of(checkpoint: CoreCheckpoint) -> tuple[Tokenizer, ChatFormat]:
    """Vortex-Tok, a Hugging Face tokenizer, or bytes: whatever the checkpoint brought. Raises ModelFileError."""
    from vortex.tokenizer.byte_tokenizer import ByteChatFormat, ByteTokenizer
    from vortex.tokenizer.chat_format import TemplateChatFormat
    from vortex.tokenizer.house import load_tokenizer
    from vortex.tokenizer.vortex_tok import load_vortex_tokenizer
    from vortex.tokenizer.vortex_tok.chat_format import VortexChatFormat
    from vortex.tokenizer.vortex_tok.files import HEAD_FILE

    folder = checkpoint.tokenizer_folder
    if folder is None:
        if checkpoint.tokenizer in {"", BYTES}:
            return ByteTokenizer(), ByteChatFormat()
        raise ModelFileError(
            f"{checkpoint.path} wants the tokenizer {checkpoint.tokenizer!r} and has no tokenizer folder; restore it"
        )
    if (folder / HEAD_FILE).exists():
        own = load_vortex_tokenizer(folder)
        return own, VortexChatFormat(own)
    foreign = load_tokenizer(folder)
    return foreign, TemplateChatFormat(foreign)


def _packed(path: Path, options: LoadOptions) -> C3Folder:
    """The checkpoint as a `.c3` folder, made now if it is not there yet."""
    kind = "tiles16" if dispatch.usable() else "rows"
    target = options.packed_root / f"{path.name}-{fingerprint(path)}.core-{kind}-{options.form}.c3"
    if target.exists():
        try:
            return C3Folder(target)
        except ModelFileError:
            shutil.rmtree(target)  # damaged; what it was packed from is still there
    checkpoint = read_core(path)
    with C3Writer(target, {"core": checkpoint.config.to_json()}, compress=bool(options.compress)) as writer:
        write_core(checkpoint, writer, options.form)
    return C3Folder(target)


def _memory(path: Path | None, config: CoreConfig) -> list[LavaSlots] | None:
    if path is None:
        return None
    layers = sum(config.has_lava(layer) for layer in range(config.num_layers))
    return load_memory(path, config.lava, layers)
