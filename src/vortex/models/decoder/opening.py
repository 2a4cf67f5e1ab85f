"""From a GGUF file or a safetensors folder to the house's decoder, on the compute that this machine has.

A first load packs the weights into a `.c3` folder in the cache, tokenizer and settings beside them; every later load
maps that folder and never parses the source again. A source that changed (size, time, first and last megabyte) has
another fingerprint and is packed anew.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

from vortex.c3.format.folder import C3Folder, C3Writer
from vortex.errors import MissingCapability, ModelFileError, ModelNotFound
from vortex.kernels import dispatch
from vortex.machine.installation import add_extra
from vortex.machine.torch_device import has_torch, set_up_torch, torch_device, torch_sees_gpu
from vortex.models.decoder.compute import Compute
from vortex.models.decoder.model import Decoder
from vortex.models.files.checkpoint import Checkpoint, GgufCheckpoint
from vortex.models.files.decoder_config import DecoderConfig
from vortex.models.opened import LoadOptions, Opened, PackProgress
from vortex.models.weight_source import fingerprint, weight_source
from vortex.tokenizer.chat_format import TemplateChatFormat
from vortex.tokenizer.files import TokenizerFiles
from vortex.tokenizer.house import HouseTokenizer, load_tokenizer

Pack = Callable[[Checkpoint, C3Writer, str, PackProgress | None], None]


def open_decoder(source: Path, options: LoadOptions) -> Opened[Decoder]:
    """`source`: a GGUF file or a safetensors folder.

    Raises ModelNotFound, ModelFileError, UnsupportedModel, MissingCapability, ConfigError, StorageError.
    """
    if not source.exists():
        raise ModelNotFound(f"there is no model at {source}")
    if options.device == "cuda":
        torch_device(options.device)  # before anything is packed
    compute: Compute
    if options.form == "float32" or not (_runs_natively(options) or has_torch()):
        checkpoint = open_checkpoint(source)
        from vortex.models.decoder.reference_compute import ReferenceCompute

        config, compute = checkpoint.config, ReferenceCompute(checkpoint)
        tokenizer = HouseTokenizer(_tokenizer_files(source, checkpoint))
    else:
        folder = packed_folder(source, options)
        config = DecoderConfig.from_json(folder.metadata.get("config", {}), str(folder.path))
        compute = (_native_compute if _runs_natively(options) else _torch_compute)(config, folder, options)
        tokenizer = load_tokenizer(folder.path)
    _check_vocabulary(source, tokenizer, config)
    model = Decoder(_limited(config, options.context_limit), compute)
    return Opened(
        name=source.stem, path=source, model=model, tokenizer=tokenizer, chat_format=TemplateChatFormat(tokenizer)
    )


def _check_vocabulary(source: Path, tokenizer: HouseTokenizer, config: DecoderConfig) -> None:
    """Every token that text becomes has a row; added ones that no text brings by itself may go beyond."""
    if tokenizer.num_text_tokens > config.vocab_size:
        raise ModelFileError(
            f"{source}: its tokenizer has {tokenizer.num_text_tokens} tokens and the model {config.vocab_size}; "
            "they are not of one model, download both again"
        )


def open_checkpoint(source: Path) -> Checkpoint:
    """The file's own weights, unpacked."""
    if source.is_dir():
        from vortex.models.files.safetensors import SafetensorsCheckpoint

        return SafetensorsCheckpoint(source)
    return GgufCheckpoint(source)


def packed_folder(source: Path, options: LoadOptions) -> C3Folder:
    """The source's packed form, made now if it is not there yet."""
    stem = options.packed_root / f"{source.stem}-{fingerprint(source)}"
    if _runs_natively(options):  # the usual case, without a look into the source
        from vortex.models.decoder.native_pack import PACKED_TAG

        folder = _existing(Path(f"{stem}.{PACKED_TAG}-{options.form}.c3"), options)
        if folder is not None:
            return folder
    tag, _ = _packing(options)
    path = Path(f"{stem}.{tag}-{options.form}.c3")
    return _existing(path, options) or pack_model(source, path, options)


def _existing(path: Path, options: LoadOptions) -> C3Folder | None:
    """What is there already, if it is whole and as it is wanted; else it is put out of the way."""
    if not path.exists():
        return None
    try:
        folder = C3Folder(path)
        if folder.metadata.get("compressed", False) or not options.compress:
            return folder
        shutil.rmtree(path)  # raw, and lossless was asked for
    except ModelFileError:
        shutil.rmtree(path)  # damaged, or of another version: what it was packed from is still there
    return None


def pack_model(source: Path, path: Path, options: LoadOptions) -> C3Folder:
    """A new `.c3` folder at `path`, tokenizer and all."""
    checkpoint = open_checkpoint(source)
    _, pack = _packing(options)
    metadata: dict[str, object] = {
        "config": checkpoint.config.to_json(),
        "source": source.name,
        "compressed": bool(options.compress),
        "experts_per_token": checkpoint.config.experts_per_token,
    }
    with C3Writer(path, metadata, compress=bool(options.compress)) as writer:
        _tokenizer_files(source, checkpoint).save(writer.folder)
        pack(checkpoint, writer, options.form, options.progress)
    return C3Folder(path)


def _runs_natively(options: LoadOptions) -> bool:
    """The native core on a CPU; torch on a GPU and where the core was not built.

    Asks torch only where a GPU may be.
    """
    if options.device == "cuda" or not dispatch.usable():
        return False
    return options.device == "cpu" or not torch_sees_gpu()


def _packing(options: LoadOptions) -> tuple[str, Pack]:
    """The tag of the packed folder's name, and what fills it."""
    if _runs_natively(options):
        from vortex.models.decoder import native_pack

        return native_pack.PACKED_TAG, native_pack.pack
    if not has_torch():
        raise MissingCapability(f"without the native core torch is needed: {add_extra('torch')}, or reinstall with g++")
    from vortex.models.decoder import torch_pack

    if torch_device(options.device).type != "cpu":
        return torch_pack.ROWS_TAG, torch_pack.pack_rows
    return torch_pack.packed_tag(), torch_pack.pack


def _native_compute(config: DecoderConfig, folder: C3Folder, options: LoadOptions) -> Compute:
    from vortex.models.decoder.native_compute import NativeCompute
    from vortex.models.decoder.packed_check import check_packed

    check_packed(config, folder.entries, folder.path)
    return NativeCompute(
        config, weight_source(folder, options), threads=options.threads, int8_cache=options.kv_bits == 8
    )


def _torch_compute(config: DecoderConfig, folder: C3Folder, options: LoadOptions) -> Compute:
    device = set_up_torch(options.device, options.threads).type
    from vortex.models.decoder.torch_compute import TorchCompute

    if device == "cpu":
        return TorchCompute(config, weight_source(folder, options))
    from vortex.c3.torch.device_memory import DeviceMemory

    source = weight_source(folder, options, DeviceMemory(device))
    return TorchCompute(config, source, device=device, unpack_trunk=not options.budget_bytes)


def _limited(config: DecoderConfig, context_limit: int) -> DecoderConfig:
    if not context_limit:
        return config
    return dataclasses.replace(config, context_length=min(config.context_length, context_limit))


def _tokenizer_files(source: Path, checkpoint: Checkpoint) -> TokenizerFiles:
    if isinstance(checkpoint, GgufCheckpoint):
        from vortex.tokenizer.gguf import tokenizer_files_from_gguf

        return tokenizer_files_from_gguf(checkpoint.file.metadata)
    from vortex.tokenizer.huggingface import tokenizer_files_from_folder

    return tokenizer_files_from_folder(source)
