"""From a file or folder on disk to something that can be swept, with its tokenizer and its way to write a conversation.

A first load packs the weights into a `.c3` folder in the cache, tokenizer and settings beside them; every later load
maps that folder and never parses the source again. A source that changed (size, time, first and last megabyte) has
another fingerprint and is packed anew.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import xxhash

from vortex.c3.format.folder import C3Folder, C3Writer, aligned
from vortex.c3.paging.expert_pager import ExpertPager
from vortex.c3.paging.options import PagerOptions
from vortex.c3.paging.pager import Pager
from vortex.c3.paging.tile_memory import TileMemory
from vortex.c3.sources import ResidentSource, WeightSource
from vortex.errors import MissingCapability, ModelFileError, ModelNotFound
from vortex.kernels import dispatch
from vortex.models.decoder.compute import Compute
from vortex.models.decoder.model import Decoder
from vortex.models.files.checkpoint import Checkpoint, GgufCheckpoint
from vortex.models.files.decoder_config import DecoderConfig
from vortex.tokenizer.files import TokenizerFiles
from vortex.tokenizer.house import HouseTokenizer, load_tokenizer

FINGERPRINT_BYTES = 1 << 20
FORMS = ("auto", "int4", "int8", "mxfp4", "bf16", "float32")
GPU_DEVICES = ("/dev/nvidiactl", "/dev/dxg")  # Linux, Windows Subsystem for Linux
PackProgress = Callable[[int, int], None]  # steps done, steps in all
Pack = Callable[[Checkpoint, C3Writer, str, PackProgress | None], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """`form` auto: as the file has it, floats as int8; float32: the slow reference. `device`: auto, cpu, cuda."""

    packed_root: Path
    form: str = "auto"
    device: str = "auto"
    threads: int = 0  # 0: one per core
    context_limit: int = 0  # 0: the model's own
    kv_bits: int = 16  # 8: a KV cache of half the size, on the native core
    budget_bytes: int = 0  # memory for weights; 0: all resident
    prefetch_depth: int = 1  # with a budget: largest units read ahead
    lock_memory: bool = False  # with a budget: never swapped out
    host_cache_bytes: int = 0  # with a budget, on a GPU: weights kept in ordinary memory between disk and GPU
    compress: bool | None = None  # when packing: lossless codecs where they pay; None: where they do by default
    progress: PackProgress | None = None


@dataclass(frozen=True, slots=True)
class LoadedModel:
    model: Decoder
    tokenizer: HouseTokenizer


def load_model(source: Path, options: LoadOptions) -> LoadedModel:
    """`source`: a GGUF file or a safetensors folder. Raises ModelNotFound, ModelFileError, UnsupportedModel."""
    if not source.exists():
        raise ModelNotFound(f"there is no model at {source}")
    if options.device == "cuda" and not _has_torch():
        raise MissingCapability("a GPU is used through torch, which is not installed: pip install 'vortex[torch]'")
    if options.form == "float32" or not (_runs_natively(options) or _has_torch()):
        checkpoint = open_checkpoint(source)
        from vortex.models.decoder.reference_compute import ReferenceCompute

        config = _limited(checkpoint.config, options.context_limit)
        return LoadedModel(Decoder(config, ReferenceCompute(checkpoint)), _tokenizer_of(source, checkpoint))
    folder = packed_folder(source, options)
    config = _limited(DecoderConfig.from_json(folder.metadata["config"]), options.context_limit)
    make_compute = _native_compute if _runs_natively(options) else _torch_compute
    return LoadedModel(Decoder(config, make_compute(config, folder, options)), load_tokenizer(folder.path))


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


def fingerprint(source: Path) -> str:
    """16 hexadecimal digits that change when the file (or the folder's files) changes."""
    digest = xxhash.xxh3_64()
    files = sorted([*source.glob("*.safetensors"), *source.glob("*.json")]) if source.is_dir() else [source]
    for path in files:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            digest.update(f"{path.name} {size} ".encode())
            digest.update(file.read(FINGERPRINT_BYTES))
            file.seek(max(0, size - FINGERPRINT_BYTES))
            digest.update(file.read())
    return digest.hexdigest()


def _runs_natively(options: LoadOptions) -> bool:
    """The native core on a CPU; torch on a GPU and where the core was not built.

    Asks torch only where a GPU may be.
    """
    if options.device == "cuda" or not dispatch.usable():
        return False
    if options.device == "cpu" or not any(Path(path).exists() for path in GPU_DEVICES):
        return True
    if not _has_torch():
        return True
    import torch

    return not torch.cuda.is_available()


def _packing(options: LoadOptions) -> tuple[str, Pack]:
    """The tag of the packed folder's name, and what fills it."""
    if _runs_natively(options):
        from vortex.models.decoder import native_pack

        return native_pack.PACKED_TAG, native_pack.pack
    if not _has_torch():
        raise MissingCapability(
            "without the native core torch is needed: pip install 'vortex[torch]', or reinstall with g++"
        )
    from vortex.models.decoder import torch_pack

    if _torch_device(options) != "cpu":
        return torch_pack.ROWS_TAG, torch_pack.pack_rows
    return torch_pack.packed_tag(), torch_pack.pack


def _has_torch() -> bool:
    return importlib.util.find_spec("torch") is not None


def _native_compute(config: DecoderConfig, folder: C3Folder, options: LoadOptions) -> Compute:
    from vortex.models.decoder.native_compute import NativeCompute

    return NativeCompute(
        config, weight_source(folder, options), threads=options.threads, int8_cache=options.kv_bits == 8
    )


def _torch_compute(config: DecoderConfig, folder: C3Folder, options: LoadOptions) -> Compute:
    # Before torch brings OpenMP: threads that spin at barriers make a busy machine ten times slower (decisions/0003).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import torch

    from vortex.models.decoder.torch_compute import TorchCompute

    device = _torch_device(options)
    torch.set_num_threads(options.threads or os.cpu_count() or 1)
    if device == "cpu":
        return TorchCompute(config, weight_source(folder, options))
    from vortex.c3.torch.device_memory import DeviceMemory

    source = weight_source(folder, options, DeviceMemory(device))
    return TorchCompute(config, source, device=device, unpack_trunk=not options.budget_bytes)


def _torch_device(options: LoadOptions) -> str:
    """cpu or cuda. Raises MissingCapability where a GPU was asked for and torch sees none."""
    import torch

    has_gpu = options.device != "cpu" and torch.cuda.is_available()
    if options.device == "cuda" and not has_gpu:
        raise MissingCapability("no CUDA device is visible to torch; run with `--set runtime.device=cpu`")
    return "cuda" if has_gpu else "cpu"


def weight_source(folder: C3Folder, options: LoadOptions, memory: TileMemory | None = None) -> WeightSource:
    """Resident, or paged under the options' budget. Raises ConfigError for a budget too small.

    memory: a device's. Experts are always slots there, with room for all of them where no budget is set.
    """
    budget_bytes = options.budget_bytes
    if memory is not None and folder.metadata.get("experts_per_token"):
        budget_bytes = budget_bytes or sum(aligned(entry.num_bytes) for entry in folder.entries.values())
    if not budget_bytes:
        return ResidentSource(folder)
    paging = PagerOptions(
        budget_bytes=budget_bytes,
        prefetch_depth=options.prefetch_depth,
        lock_memory=options.lock_memory,
        disk_memory=options.packed_root / "disks.json",
        host_bytes=options.host_cache_bytes if memory is not None else 0,
    )
    pager = ExpertPager if folder.metadata.get("experts_per_token") else Pager
    return pager(folder, paging, memory=memory)


def _limited(config: DecoderConfig, context_limit: int) -> DecoderConfig:
    import dataclasses

    if not context_limit:
        return config
    return dataclasses.replace(config, context_length=min(config.context_length, context_limit))


def _tokenizer_files(source: Path, checkpoint: Checkpoint) -> TokenizerFiles:
    if isinstance(checkpoint, GgufCheckpoint):
        from vortex.tokenizer.gguf import tokenizer_files_from_gguf

        return tokenizer_files_from_gguf(checkpoint.file.metadata)
    from vortex.tokenizer.huggingface import tokenizer_files_from_folder

    return tokenizer_files_from_folder(source)


def _tokenizer_of(source: Path, checkpoint: Checkpoint) -> HouseTokenizer:
    return HouseTokenizer(_tokenizer_files(source, checkpoint))
