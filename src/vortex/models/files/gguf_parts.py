"""A GGUF model in one file or in several: `NAME-00001-of-00003.gguf` and its siblings, read as one.

A part says by its keys `split.no` (from 0) and `split.count` which it is; metadata is in the first part. Promises all
tensors of all parts, or one line that says which part was given or is missing. Joins nothing on disk.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from vortex.errors import ModelFileError
from vortex.models.files.gguf import GgufFile, GgufTensor
from vortex.records.foreign import ForeignValues

MOST_PARTS = 99_999
_PART_NAME = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<suffix>\.gguf)", re.IGNORECASE)


class GgufModel:
    """`metadata` of the first file, `tensors` of all of them; `read` as GgufFile. Raises ModelFileError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        first = GgufFile(path)
        self.metadata: dict[str, Any] = first.metadata
        self._files = [first, *(GgufFile(other) for other in _others(path, first))]
        self._file_of: dict[str, GgufFile] = {}
        self.tensors: dict[str, GgufTensor] = {}
        for file in self._files:
            for name, tensor in file.tensors.items():
                if name in self.tensors:
                    raise ModelFileError(f"{path}: the tensor {name!r} is in two of its parts; download them again")
                self.tensors[name], self._file_of[name] = tensor, file
        said = ForeignValues(first.metadata, str(path)).whole("split.tensors.count", len(self.tensors))
        if len(self._files) > 1 and said != len(self.tensors):
            raise ModelFileError(f"{path}: its parts hold {len(self.tensors)} of {said} tensors; download them again")

    def read(self, name: str) -> np.ndarray:
        return self._file_of[name].read(name)


def part_files(path: Path) -> list[Path]:
    """Every part's path by the name of one of them, which are not looked at; the path alone where no name says so."""
    named = _PART_NAME.fullmatch(path.name)
    if named is None or int(named["count"]) > MOST_PARTS:
        return [path]
    names = (f"{named['stem']}-{number:05}-of-{named['count']}{named['suffix']}" for number in _numbers(named))
    return [path.with_name(name) for name in names]


def _numbers(named: re.Match[str]) -> range:
    return range(1, int(named["count"]) + 1)


def _others(path: Path, first: GgufFile) -> list[Path]:
    values = ForeignValues(first.metadata, str(path))
    count = values.whole("split.count", 1, most=MOST_PARTS)
    if count <= 1:
        return []
    number = values.whole("split.no", 0, most=count - 1) + 1
    files, say = part_files(path), f"{path} is part {number} of {count} of a split model"
    if len(files) != count:
        pattern = f"NAME-{number:05}-of-{count:05}.gguf"
        raise ModelFileError(f"{say}; put all parts in one folder under names like {pattern}, and give the first")
    if number != 1:
        raise ModelFileError(f"{say}; give the first part, {files[0].name}")
    if missing := [file.name for file in files if not file.exists()]:
        raise ModelFileError(f"{say}; missing beside it: {', '.join(missing[:3])}{', ...' if missing[3:] else ''}")
    return files[1:]
