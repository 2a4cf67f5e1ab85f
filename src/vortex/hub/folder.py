"""Whether a folder holds a whole safetensors model."""

from __future__ import annotations

import json
from pathlib import Path

CONFIG_FILE = "config.json"
INDEX_FILE = "model.safetensors.index.json"


def missing_files(folder: Path) -> list[str]:
    """Names of files that a safetensors model needs and this folder lacks; empty for a whole model."""
    missing = [] if (folder / CONFIG_FILE).is_file() else [CONFIG_FILE]
    index = folder / INDEX_FILE
    if not index.is_file():
        return missing if any(folder.glob("*.safetensors")) else [*missing, "*.safetensors"]
    try:
        shards = set(json.loads(index.read_bytes())["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError):
        return [*missing, f"a readable {INDEX_FILE}"]
    return missing + sorted(shard for shard in shards if not (folder / shard).is_file())
