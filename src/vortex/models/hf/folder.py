"""A GGUF file as a safetensors folder that transformers reads, made once and kept in the user's cache.

transformers unpacks the blocks to floats and names the tensors; stored are bfloat16 weights, the model's own
config.json, and the tokenizer in the house's form. Promises that a folder which is handed out is whole: it is written
under another name, synced and renamed, and its files are compared with the checksums noted beside them.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
from pathlib import Path

import xxhash

from vortex.errors import StorageError, UnsupportedModel
from vortex.hub.wheel_fetch import check_disk_space
from vortex.models.files.gguf import GgufFile
from vortex.records.atomic import commit_rename, sync_folder
from vortex.records.lock import FileLock
from vortex.records.scratch import disown, scratch_folder
from vortex.tokenizer.gguf import tokenizer_files_from_gguf

CHECKSUMS = "checksums.json"
GROWTH = 5  # a 4-bit file as bfloat16, with room to spare
BLOCK_BYTES = 16 << 20


def folder_of_gguf(source: Path, made_root: Path, fingerprint: str) -> Path:
    """The folder made of this file, now or before. fingerprint: changes when the file does.

    Raises UnsupportedModel where transformers cannot read the file, StorageError where there is no space.
    """
    path = made_root / f"{source.stem}-{fingerprint}.transformers"
    with FileLock(made_root / f".{path.name}.lock"):
        if path.exists() and not is_whole(path):
            shutil.rmtree(path)
        if not path.exists():
            _make(source, path)
    return path


def is_whole(path: Path) -> bool:
    """Whether every file is there and has its checksum."""
    try:
        noted = json.loads((path / CHECKSUMS).read_bytes())
        return bool(noted) and all(_checksum(path / name) == checksum for name, checksum in noted.items())
    except (OSError, ValueError, AttributeError):
        return False


def _make(source: Path, path: Path) -> None:
    check_disk_space(path.parent, GROWTH * source.stat().st_size, path.name)
    try:
        with scratch_folder(path.parent, path.name + ".partial-") as temporary:
            _unpack(source, temporary)
            tokenizer_files_from_gguf(GgufFile(source).metadata).save(temporary)
            disown(temporary)
            noted = {file.name: _checksum(file) for file in sorted(temporary.iterdir())}
            (temporary / CHECKSUMS).write_text(json.dumps(noted))
            for file in temporary.iterdir():
                with file.open("rb") as opened:
                    os.fsync(opened.fileno())
            sync_folder(temporary)
            commit_rename(temporary, path)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error}; free some space, or set VORTEX_HOME") from error


def _unpack(source: Path, folder: Path) -> None:
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM

    try:
        with contextlib.redirect_stderr(io.StringIO()):  # progress bars that cannot be switched off
            model = AutoModelForCausalLM.from_pretrained(
                source.parent, gguf_file=source.name, dtype=torch.bfloat16, local_files_only=True
            )
    except (ValueError, KeyError, NotImplementedError, RuntimeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UnsupportedModel(
            f"transformers cannot read {source} ({reason}); run it without --backend hf, or give a safetensors folder"
        ) from error
    config = model.config
    if hasattr(config, "quantization_config"):  # it speaks of the file's blocks, which are floats by now
        del config.quantization_config
    config.dtype = torch.bfloat16
    config.save_pretrained(folder)
    tensors = {name: parameter.detach().contiguous() for name, parameter in model.named_parameters()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _checksum(file: Path) -> str:
    digest = xxhash.xxh3_64()
    with file.open("rb") as opened:
        while block := opened.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
