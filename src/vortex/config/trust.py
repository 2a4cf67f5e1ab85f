"""Which `config/.env` files this user trusts with everything: by path and content, kept in the user's own folder.

A working folder may hold somebody else's repository. Variables of its file that redirect (an engine's address), loosen
(allowed hosts and origins) or write elsewhere (the ledger's path) count only if the user said so for this very file: a
changed file is asked about anew.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import platformdirs

from vortex.records.atomic import atomic_write

RECORD = "trusted.json"
MAX_RECORD_BYTES = 1 << 20


def trust_record() -> Path:
    return platformdirs.user_config_path("vortex") / RECORD


def is_trusted(path: Path) -> bool:
    """Whether the user trusts this file as it is now."""
    known = _read(trust_record())
    return path.is_file() and known.get(str(path.resolve())) == _digest(path)


def trust(path: Path) -> None:
    """Remember the file as it is now. Raises OSError."""
    record = trust_record()
    known = {**_read(record), str(path.resolve()): _digest(path)}
    with atomic_write(record) as file:
        file.write(json.dumps(known, indent=1, sort_keys=True).encode())


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _read(record: Path) -> dict[str, str]:
    try:
        if record.stat().st_size > MAX_RECORD_BYTES:
            return {}
        known = json.loads(record.read_bytes())
    except (OSError, ValueError):
        return {}
    return (
        {path: digest for path, digest in known.items() if isinstance(digest, str)} if isinstance(known, dict) else {}
    )
