"""Which weights a model has, as one string: SHA-256 of its files and the form they are served in.

An adapter is trained against weights as they are served; on others (another model, or another quantisation of the same)
it answers something else. Hashing takes a second per gigabyte or so, once: what was found is kept beside the model.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from vortex.records.atomic import atomic_write

RECORD_FILE = "identity.json"


def weights_identity(source: Path, form: str, kept_in: Path | None = None) -> str:
    """`sha256:<64 digits>/<form>`. source: a GGUF file or a safetensors folder. kept_in: folder for the record."""
    files = sorted([*source.glob("*.safetensors"), source / "config.json"]) if source.is_dir() else [source]
    stamp = [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    record = kept_in / RECORD_FILE if kept_in else None
    digest = _kept(record, stamp) if record else None
    if digest is None:
        digest = _digest(files)
        if record is not None:
            with atomic_write(record) as out:
                out.write(json.dumps({"files": stamp, "sha256": digest}).encode())
    return f"sha256:{digest}/{form}"


def _digest(files: list[Path]) -> str:
    whole = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()


def _kept(record: Path, stamp: list[list[object]]) -> str | None:
    try:
        values = json.loads(record.read_bytes())
        return str(values["sha256"]) if values["files"] == stamp else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
