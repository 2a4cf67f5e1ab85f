"""What people say is written where nobody else reads it."""

from __future__ import annotations

import os
from pathlib import Path

from vortex.records.jsonl import append_jsonl, read_jsonl


def test_a_record_and_its_folders_are_for_their_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0o000)
    try:
        path = tmp_path / "data" / "episodes" / "chat.jsonl"
        append_jsonl(path, {"a": 1})
        assert [entry.stat().st_mode & 0o777 for entry in (path, path.parent, path.parent.parent)] == [
            0o600,
            0o700,
            0o700,
        ]
        path.chmod(0o644)
        append_jsonl(path, {"a": 2})
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [row["a"] for row in read_jsonl(path)] == [1, 2]
