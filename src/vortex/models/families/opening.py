"""From the files of a family to a model that can be swept: packed for the native core, or dense where that is missing.

As the decoder's own opening: a first load packs the weights into a `.c3` folder in the cache, tokenizer and blueprint
beside them; every later load maps that folder. Runs on the CPU.
"""

from __future__ import annotations

import dataclasses
import math
import shutil
from pathlib import Path

from vortex.c3.format.folder import C3Folder, C3Writer
from vortex.errors import MissingCapability, ModelFileError, ModelNotFound, UnsupportedModel
from vortex.kernels import dispatch
from vortex.models.blueprint.blueprint import Blueprint
from vortex.models.blueprint.compute import BlueprintCompute
from vortex.models.blueprint.dense import BlueprintCheckpoint, DenseWeights
from vortex.models.decoder.model import SweptModel
from vortex.models.decoder.native_pack import PACKED_TAG
from vortex.models.families.checkpoint import FamilyCheckpoint
from vortex.models.families.gguf_checkpoint import GgufFamilyCheckpoint
from vortex.models.families.gguf_family import BY_ARCHITECTURE
from vortex.models.families.registry import BY_TYPE
from vortex.models.files.gguf import architecture_of
from vortex.models.files.hf_config import ARCHITECTURES
from vortex.models.opened import LoadOptions, Opened
from vortex.models.weight_source import fingerprint, weight_source
from vortex.records.foreign import read_json_object
from vortex.tokenizer.chat_format import TemplateChatFormat
from vortex.tokenizer.files import TokenizerFiles
from vortex.tokenizer.house import HouseTokenizer, load_tokenizer


def is_family(source: Path) -> bool:
    """Whether these files are of a family, and not of the decoder's own architectures.

    Raises UnsupportedModel for a folder whose type is neither, with all that are known.
    """
    if source.is_file():
        return architecture_of(source) in BY_ARCHITECTURE
    if not (source / "config.json").is_file():
        return False
    values = read_json_object(source / "config.json")
    inner = values.nested("text_config").text("model_type", "", most=64)
    name = inner or values.text("model_type", "None", most=64)
    if name in BY_TYPE:
        return True
    if name not in ARCHITECTURES:
        known = ", ".join(sorted({*BY_TYPE, *ARCHITECTURES}))
        raise UnsupportedModel(f"{source}: architecture {name!r} is not supported; known: {known}")
    return False


def open_checkpoint(source: Path) -> FamilyCheckpoint | GgufFamilyCheckpoint:
    return FamilyCheckpoint(source) if source.is_dir() else GgufFamilyCheckpoint(source)


def open_family(source: Path, options: LoadOptions) -> Opened[SweptModel]:
    """Raises ModelNotFound, ModelFileError, UnsupportedModel, MissingCapability, ConfigError, StorageError."""
    if not source.exists():
        raise ModelNotFound(f"there is no model at {source}")
    if options.device == "cuda":
        raise MissingCapability(f"{source.name} runs on the CPU alone here; --backend hf runs it on a GPU")
    if options.form == "float32" or not dispatch.usable():
        checkpoint = open_checkpoint(source)
        blueprint, compute = checkpoint.blueprint, BlueprintCompute(checkpoint.blueprint, DenseWeights(checkpoint))
        tokenizer = HouseTokenizer(_tokenizer_files(checkpoint, source))
    else:
        folder = _packed_folder(source, options)
        blueprint, compute = packed_model(folder, options)
        tokenizer = load_tokenizer(folder.path)
    if tokenizer.num_text_tokens > blueprint.vocab_size:
        raise ModelFileError(
            f"{source}: its tokenizer has {tokenizer.num_text_tokens} tokens and the model {blueprint.vocab_size}; "
            "they are not of one model, download both again"
        )
    if options.context_limit:
        shorter = min(blueprint.context_length, options.context_limit)
        blueprint = dataclasses.replace(blueprint, context_length=shorter)
    model = SweptModel(blueprint, compute, weights_per_token(blueprint))
    return Opened(
        name=source.stem, path=source, model=model, tokenizer=tokenizer, chat_format=TemplateChatFormat(tokenizer)
    )


def packed_model(folder: C3Folder, options: LoadOptions) -> tuple[Blueprint, BlueprintCompute]:
    """What a packed folder holds, resident or paged. Raises ModelFileError, ConfigError."""
    from vortex.models.blueprint.packed import PackedWeights, check_packed

    blueprint = Blueprint.from_json(folder.metadata.get("blueprint", {}), str(folder.path))
    check_packed(blueprint, folder.entries, folder.path)
    weights = PackedWeights(blueprint, weight_source(folder, options), threads=options.threads)
    return blueprint, BlueprintCompute(blueprint, weights)


def pack_family(
    checkpoint: BlueprintCheckpoint, path: Path, tokenizer: TokenizerFiles | None, options: LoadOptions
) -> C3Folder:
    """A new `.c3` folder at `path`."""
    from vortex.models.blueprint.packed import pack_blueprint

    metadata: dict[str, object] = {
        "blueprint": checkpoint.blueprint.to_json(),
        "compressed": bool(options.compress),
        "experts_per_token": checkpoint.blueprint.experts_per_token,
    }
    with C3Writer(path, metadata, compress=bool(options.compress)) as writer:
        if tokenizer is not None:
            tokenizer.save(writer.folder)
        pack_blueprint(checkpoint, writer, options.form, options.progress)
    return C3Folder(path)


def _packed_folder(source: Path, options: LoadOptions) -> C3Folder:
    path = options.packed_root / f"{source.stem}-{fingerprint(source)}.blueprint-{PACKED_TAG}-{options.form}.c3"
    if path.exists():
        try:
            folder = C3Folder(path)
            if folder.metadata.get("compressed", False) or not options.compress:
                return folder
        except ModelFileError:
            pass  # damaged, or of another version: what it was packed from is still there
        shutil.rmtree(path)
    checkpoint = open_checkpoint(source)
    return pack_family(checkpoint, path, _tokenizer_files(checkpoint, source), options)


def _tokenizer_files(checkpoint: FamilyCheckpoint | GgufFamilyCheckpoint, source: Path) -> TokenizerFiles:
    if isinstance(checkpoint, GgufFamilyCheckpoint):
        from vortex.tokenizer.gguf import tokenizer_files_from_gguf

        return tokenizer_files_from_gguf(checkpoint.file.metadata)
    from vortex.tokenizer.huggingface import tokenizer_files_from_folder

    return tokenizer_files_from_folder(source)


def weights_per_token(blueprint: Blueprint) -> int:
    """Weights that one row meets: of a layer's experts those that it uses."""
    total = blueprint.vocab_size * blueprint.width
    for layer in range(blueprint.num_layers):
        experts = blueprint.experts(layer)
        share = experts.used / experts.num_experts if experts else 1.0
        for name, shape in blueprint.shapes(layer).items():
            total += int(math.prod(shape) * (share if name.startswith("experts.") else 1.0))
    return total
